//! Runs a server and a client in one process, over real QUIC on loopback.
//!
//! `cargo run --example quickstart -- --serve` serves until ctrl-c, over HTTP as well.

use std::time::Duration;

use rpc_http::HttpServer;
use rpc_runtime::{CallError, Client, Identity, RpcError, Server, Trust, rpc};

#[rpc]
trait Desk {
    /// Counts how often `needle` occurs in `text`. Both are borrowed from the received bytes, escapes included.
    async fn count(&self, text: &str, needle: &str) -> usize;
    async fn divide(&self, a: i64, b: i64) -> Result<i64, DivideError>;
    /// Prints a line on the server. A notification has no reply.
    #[rpc(notification)]
    async fn log(&self, line: &str);
}

#[derive(Debug, thiserror::Error, RpcError)]
enum DivideError {
    #[error("division by zero")]
    #[rpc(code = 1001)]
    ByZero,
}

struct Clerk;

impl Desk for Clerk {
    async fn count(&self, text: &str, needle: &str) -> usize {
        text.matches(needle).count()
    }

    async fn divide(&self, a: i64, b: i64) -> Result<i64, DivideError> {
        a.checked_div(b).ok_or(DivideError::ByZero)
    }

    async fn log(&self, line: &str) {
        println!("the server heard: {line}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(DeskServer::new(Clerk))
        .bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    if std::env::args().any(|argument| argument == "--serve") {
        let http = HttpServer::new(server.services());
        let http = http.bind("127.0.0.1:8080").await?;
        println!("http listening on {}", http.local_addr()?);
        tokio::join!(server.run(), http.run());
        return Ok(());
    }
    tokio::spawn(server.run());

    let client = Client::builder().trust(trust).connect(address).await?;
    let desk = DeskClient::new(client.clone());

    println!(
        "\"be\": {} times",
        desk.count("to be\nor \"not\" to be", "be").await?
    );
    match desk.divide(1, 0).await {
        Err(CallError::Application(DivideError::ByZero)) => println!("1 / 0: a typed error"),
        other => println!("1 / 0: {other:?}"),
    }
    desk.log("a notification").await?;

    let calls: Vec<_> = (1..=100)
        .map(|n| tokio::spawn(desk.divide(n * n, n)))
        .collect();
    let mut sum = 0;
    for call in calls {
        sum += call.await??;
    }
    println!("100 concurrent calls add up to {sum}");

    client.close().await;
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
