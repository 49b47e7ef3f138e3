//! Generates tonic's code, without `protoc`, and notes the compiler.

use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    tonic_prost_build::compile_fds(protox::compile(["proto/shop.proto"], ["proto"])?)?;
    let version = Command::new(std::env::var("RUSTC")?)
        .arg("--version")
        .output()?;
    println!(
        "cargo::rustc-env=BENCH_RUSTC={}",
        String::from_utf8(version.stdout)?.trim()
    );
    Ok(())
}
