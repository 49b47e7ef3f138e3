//! Measures how long services take to compile. The time should grow with the number of methods and of services, and with
//! nothing else.
//!
//! Generates a program that serves a number of services, each with a number of methods. Builds it with the compiler's
//! default limits. Its dependencies are built before.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use anyhow::{Context, Result, ensure};

/// The number of attempts. The quickest counts, since other work on the machine only slows an attempt down.
const ROUNDS: usize = 3;

/// The number of ticks per second in which the kernel reports CPU time to programs, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The number of services, and the number of methods of each. The first program serves none.
const SIZES: [(usize, usize); 7] = [
    (0, 0),
    (1, 10),
    (1, 50),
    (1, 250),
    (1, 5),
    (20, 5),
    (100, 5),
];

pub(crate) fn main() -> Result<()> {
    let program = Program::new()?;
    let times: Result<Vec<_>> = SIZES.iter().map(|size| program.measure(*size)).collect();
    program.remove()?;
    print!("{}", table(&times?));
    Ok(())
}

/// The seconds of CPU time that the generated program alone takes, without its dependencies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    check: f64,
    build: f64,
}

struct Program {
    folder: PathBuf,
    /// The folder of build results. It is kept, so that the dependencies of the program are compiled once.
    target: PathBuf,
}

impl Program {
    fn new() -> Result<Self> {
        let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
        let runtime = bench.join("../rpc-runtime").canonicalize()?;
        let folder = env::temp_dir().join(format!("rpc-compile-time-{}", process::id()));
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Cargo.toml"), manifest(&runtime))?;
        // Uses the versions of the workspace.
        fs::copy(runtime.join("../Cargo.lock"), folder.join("Cargo.lock"))?;
        let target = bench.join("target/compile-time");
        let program = Self { folder, target };
        program.write((1, 1))?;
        program.cargo("check")?;
        program.cargo("build")?;
        Ok(program)
    }

    fn write(&self, size: (usize, usize)) -> Result<()> {
        Ok(fs::write(self.folder.join("src/main.rs"), source(size)?)?)
    }

    fn measure(&self, size: (usize, usize)) -> Result<Times> {
        let mut best = Times {
            check: f64::MAX,
            build: f64::MAX,
        };
        for _ in 0..ROUNDS {
            // Cargo compiles the file again because it was written again.
            self.write(size)?;
            best.check = best.check.min(self.cargo("check")?);
            best.build = best.build.min(self.cargo("build")?);
        }
        Ok(best)
    }

    /// Runs `cargo`. Returns the seconds of CPU time that it, its compilers and the linker take.
    fn cargo(&self, command: &str) -> Result<f64> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsStr::new("cargo").to_owned());
        let before = cpu_of_children()?;
        let output = Command::new(cargo)
            .arg(command)
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "0")
            .output()
            .context("cargo cannot be started")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo {command}: {errors}");
        Ok(cpu_of_children()? - before)
    }

    fn remove(&self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}

/// Returns the seconds of CPU time, user and system, of the processes that this process has started and that have ended.
fn cpu_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in parentheses, may have spaces.
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/self/stat")?;
    let ticks: Result<Vec<f64>, _> = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(str::parse)
        .collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn manifest(runtime: &Path) -> String {
    format!(
        "\
[workspace]

[package]
name = \"compile-time\"
version = \"0.0.0\"
edition = \"2024\"

[dependencies]
rpc-runtime = {{ path = {runtime:?} }}
tokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}
"
    )
}

fn source((services, methods): (usize, usize)) -> Result<String> {
    let mut source = String::from("use rpc_runtime::{Identity, Server, rpc};\n\nstruct Host;\n");
    for service in 0..services {
        let mut declared = String::new();
        let mut implemented = String::new();
        for method in 0..methods {
            let signature = format!("async fn m{method}(&self, a: u64, b: &str, c: Vec<u32>)");
            writeln!(declared, "    {signature} -> String;")?;
            let body = "format!(\"{a}{b}{}\", c.len())";
            writeln!(implemented, "    {signature} -> String {{ {body} }}")?;
        }
        let attribute = format!("#[rpc(namespace = \"s{service}\")]");
        write!(source, "\n{attribute}\ntrait S{service} {{\n{declared}}}\n")?;
        write!(source, "\nimpl S{service} for Host {{\n{implemented}}}\n")?;
    }
    source.push_str("\n#[tokio::main(flavor = \"current_thread\")]\nasync fn main() {\n");
    source.push_str("    let identity = Identity::self_signed([\"localhost\"]).unwrap();\n");
    source.push_str("    let builder = Server::builder(identity);\n");
    for service in 0..services {
        let server = format!("S{service}Server::new(Host)");
        writeln!(source, "    let builder = builder.service({server});")?;
    }
    source.push_str("    builder.bind(\"127.0.0.1:0\").unwrap().run().await;\n}\n");
    Ok(source)
}

fn table(times: &[Times]) -> String {
    let mut table = String::from(
        "\
| services | methods of each | `cargo check`, CPU s | more for each method, ms | `cargo build`, CPU s | more for each method, ms |
|--:|--:|--:|--:|--:|--:|
",
    );
    let Some(none) = times.first() else {
        return table;
    };
    for ((services, methods), Times { check, build }) in SIZES.iter().zip(times) {
        let each = |seconds: f64| match services * methods {
            0 => String::new(),
            count => format!("{:.1}", seconds * 1e3 / count as f64),
        };
        let (more_check, more_build) = (each(check - none.check), each(build - none.build));
        table.push_str(&format!(
            "| {services} | {methods} | {check:.2} | {more_check} | {build:.2} | {more_build} |\n"
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{SIZES, Times, table};

    #[test]
    fn times_of_methods_leave_out_those_of_a_program_without_any() {
        let times = SIZES.map(|(services, methods)| {
            let grown = (services * methods) as f64;
            Times {
                check: 1.0 + grown / 1e3,
                build: 2.0 + grown / 1e2,
            }
        });
        let table = table(&times);
        assert!(table.contains("| 0 | 0 | 1.00 |  | 2.00 |  |"), "{table}");
        let row = "| 1 | 250 | 1.25 | 1.0 | 4.50 | 10.0 |";
        assert!(table.contains(row), "{table}");
    }
}
