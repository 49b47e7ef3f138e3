//! Tests with clients and servers in memory.

mod balance;
mod batch;
mod cancellation;
mod foreign;
mod messages;
mod room;
mod timeouts;
mod unanswered;
mod waiting;

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::client::builder::ClientBuilder;
use crate::client::handle::Client;
use crate::codec::lines::{Line, LineSplitter};
use crate::rpc;
use crate::transport::{Connection, RecvStream, SendStream, memory};

#[rpc(crate = crate)]
trait Desk {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn length(&self, text: &str) -> usize;
    async fn hang(&self);
    #[rpc(idempotent)]
    async fn read(&self) -> u64;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

struct Calculator;

impl Desk for Calculator {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn hang(&self) {
        std::future::pending().await
    }

    async fn read(&self) -> u64 {
        7
    }

    async fn note(&self, _: &str) {}
}

/// Fails the test if `future` does not end soon.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(600);
    let ended = tokio::time::timeout(limit, future).await;
    ended.expect("the future ends")
}

/// Parses a line that the client has sent.
fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// Returns a client and its peer, whose part the test plays.
fn scripted(builder: ClientBuilder) -> (Client, Connection) {
    let (here, there) = memory::pair();
    (builder.in_memory(here), Connection::Memory(there))
}

/// A stream at the peer.
struct PeerStream {
    send: Option<SendStream>,
    recv: RecvStream,
    splitter: LineSplitter,
    /// Number of bytes read, including line feeds.
    offset: u64,
}

impl PeerStream {
    async fn accept_bi(peer: &Connection) -> Self {
        let (send, recv) = soon(peer.accept_bi()).await.unwrap();
        Self::new(Some(send), recv)
    }

    async fn accept_uni(peer: &Connection) -> Self {
        let recv = soon(peer.accept_uni()).await.unwrap();
        Self::new(None, recv)
    }

    fn new(send: Option<SendStream>, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            splitter: LineSplitter::new(1 << 20),
            offset: 0,
        }
    }

    /// Returns the next line, or `None` at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while self.splitter.split_next(&mut line) == Line::Partial {
            let chunk = soon(self.recv.read_chunk()).await.unwrap()?;
            self.splitter.feed(chunk);
        }
        self.offset += line.len() as u64 + 1;
        Some(String::from_utf8(line).unwrap())
    }

    /// Sends a line.
    async fn reply(&mut self, line: &str) {
        let send = self.send.as_mut().unwrap();
        let line = Bytes::from(format!("{line}\n"));
        soon(send.write_chunk(line)).await.unwrap();
    }
}

/// Lets all other tasks run until they wait.
async fn run_until_idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
