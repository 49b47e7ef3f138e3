//! A server with its certificate and key in PEM files, as an authority hands them out.
//!
//! `cargo run --example tls -- CERTIFICATE KEY`, or without arguments to make a pair for a try.

use std::path::PathBuf;
use std::time::Duration;

use rpc_runtime::{Client, ConnectError, Identity, Server, Trust, UntrustedReason, rpc};

#[rpc]
trait Clock {
    async fn seconds(&self) -> u64;
}

struct System;

impl Clock for System {
    async fn seconds(&self) -> u64 {
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |elapsed| elapsed.as_secs())
    }
}

/// The files named on the command line, or new ones.
fn files() -> Result<(PathBuf, PathBuf), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    if let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) {
        return Ok((certificate, key));
    }
    let folder = std::env::temp_dir().join(format!("rpc-tls-example-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((certificate, key))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (certificate, key) = files()?;
    let identity = Identity::from_pem_files(&certificate, &key)?;
    let server = Server::builder(identity)
        .service(ClockServer::new(System))
        .bind("localhost:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());

    let trusting = Client::builder().trust(Trust::pem_file(&certificate)?);
    let client = trusting
        .clone()
        .connect(format!("localhost:{}", address.port()))
        .await?;
    println!(
        "{} s since 1970",
        ClockClient::new(client.clone()).seconds().await?
    );

    // The certificate is for `localhost`, and the address is not that.
    match trusting.connect(address).await {
        Err(ConnectError::Untrusted(UntrustedReason::WrongName)) => println!("refused by address"),
        other => println!("{other:?}"),
    }
    client.close().await;
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
