//! A server for tests of clients in other languages.
//!
//! `cargo run --release --example interop -- --listen 127.0.0.1:0 --http 127.0.0.1:0 --certificate-out cert.pem`
//! prints `http listening on ADDRESS` and `listening on ADDRESS`, and serves until it is stopped. Without `--http` it serves
//! over QUIC alone.

mod interop_service;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use interop_service::{Desk, InteropServer};
use rpc_http::HttpServer;
use rpc_runtime::{Identity, Server};

const USAGE: &str = "usage: interop [--listen ADDRESS] [--http ADDRESS] [--certificate-out FILE]";

struct Options {
    listen: String,
    http: Option<String>,
    certificate_out: Option<PathBuf>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut options = Self {
            listen: "127.0.0.1:4433".into(),
            http: None,
            certificate_out: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--listen" => options.listen = value,
                "--http" => options.http = Some(value),
                "--certificate-out" => options.certificate_out = Some(value.into()),
                _ => return Err(USAGE),
            }
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
    let certificate = identity.certificate();
    let server = Server::builder(identity)
        .service(InteropServer::new(Desk::default()))
        .bind(options.listen)?;
    let address = server.local_addr()?;
    let handle = server.handle();

    // The process that reads the line may use the certificate and send the signal at once.
    if let Some(file) = options.certificate_out {
        std::fs::write(file, certificate.to_pem())?;
    }
    let stop = stop_signal()?;
    if let Some(listen) = options.http {
        let http = HttpServer::new(server.services()).bind(listen).await?;
        println!("http listening on {}", http.local_addr()?);
        tokio::spawn(http.run());
    }
    println!("listening on {address}");

    let serving = tokio::spawn(server.run());
    stop.await;
    handle.shutdown(Duration::from_secs(10)).await;
    Ok(serving.await?)
}

/// Resolves at ctrl-c or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at ctrl-c.
#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
