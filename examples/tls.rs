//! Serves with a certificate and its key in PEM files, as a certificate authority issues them.
//!
//! Run `cargo run --example tls -- CERTIFICATE KEY`, or without arguments to make a self-signed certificate and its key.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc_runtime::tls::UntrustedReason;
use rpc_runtime::{Client, ConnectError, Identity, Server, Trust, rpc};
use tempfile::TempDir;

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

/// A certificate and its private key in files.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// A new folder to which only this user has access. It is removed when dropped.
    _folder: Option<TempDir>,
}

impl Files {
    /// Returns the files named on the command line, or new ones.
    fn find() -> Result<Self, Box<dyn std::error::Error>> {
        let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
        if let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) {
            return Ok(Self {
                certificate,
                key,
                _folder: None,
            });
        }
        let folder = tempfile::tempdir()?;
        let (certificate, key) = (
            folder.path().join("certificate.pem"),
            folder.path().join("key.pem"),
        );
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(&certificate, made.cert.pem())?;
        write_private(&key, &made.signing_key.serialize_pem())?;
        Ok(Self {
            certificate,
            key,
            _folder: Some(folder),
        })
    }
}

/// Writes a new file that only this user may read, as a private key requires.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = Files::find()?;
    let identity = Identity::from_pem_files(&files.certificate, &files.key)?;
    let server = Server::builder(identity)
        .service(ClockServer::new(System))
        .bind("localhost:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());

    let trusting = Client::builder().trust(Trust::pem_file(&files.certificate)?);
    let client = trusting
        .clone()
        .connect(format!("localhost:{}", address.port()))
        .await?;
    println!(
        "{} s since 1970",
        ClockClient::new(client.clone()).seconds().await?
    );

    // The certificate names `localhost`, and not the address.
    match trusting.connect(address).await {
        Err(ConnectError::Untrusted(UntrustedReason::WrongName { .. })) => {
            println!("refused by address")
        }
        other => println!("{other:?}"),
    }
    client.close().await;
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
