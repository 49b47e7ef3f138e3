//! A server in memory, and the connection on which the messages of a shape are sent to it.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use futures_core::Stream;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::fuzzing::shapes::{Scenario, cancel};
use crate::fuzzing::{RawPeer, RawStream};
use crate::limits::Limits;
use crate::rpc;

#[rpc(crate = crate)]
trait Probe {
    async fn text(&self, text: &str) -> usize;
    /// Ignores its arguments.
    async fn ignore(&self, #[rpc(params)] all: Ignored);
    async fn numbers(&self, numbers: Vec<i64>) -> usize;
    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64;
    /// Waits forever.
    async fn wait(&self);
    /// Waits for a moment, twice.
    async fn pause(&self);
}

/// Accepts any value.
#[derive(Debug, serde::Serialize)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

struct Clerk;

impl Probe for Clerk {
    async fn text(&self, text: &str) -> usize {
        text.len()
    }

    async fn ignore(&self, _: Ignored) {}

    async fn numbers(&self, numbers: Vec<i64>) -> usize {
        numbers.len()
    }

    async fn sum(&self, numbers: impl Stream<Item = u64> + Send) -> u64 {
        let (mut numbers, mut sum) = (pin!(numbers), 0);
        while let Some(number) = poll_fn(|cx| numbers.as_mut().poll_next(cx)).await {
            sum += number;
        }
        sum
    }

    async fn wait(&self) {
        std::future::pending().await
    }

    async fn pause(&self) {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
}

/// Maximum number of payload bytes of a packet.
const PACKET: usize = 1200;

/// Number of waiting calls, and number of kept cancellations.
const WAITING: usize = 100;
const KEPT: usize = 1024;

/// A message whose reply shows that the messages before it were processed.
const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"rpc.ping\"}\n";
const PONG: &[u8] = b"\"id\":\"last\",\"result\":null}\n";

/// A connection on which the messages of a shape are sent.
#[derive(Debug)]
pub struct ScenarioPeer {
    scenario: Scenario,
    peer: RawPeer,
    stream: RawStream,
    _others: Vec<RawStream>,
}

impl ScenarioPeer {
    /// Creates a connection in the state of the scenario. Returns `None` if the server closes the connection meanwhile.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with timers.
    pub async fn start(scenario: Scenario, limits: Limits) -> Option<Self> {
        let peer = RawPeer::of(ProbeServer::new(Clerk), limits);
        let mut stream = peer.open()?;
        stream.exchange(&PING.into(), PACKET, PONG).await?;
        let mut others = Vec::new();
        match scenario {
            Scenario::Idle => {}
            Scenario::WaitingOnStream => {
                let id = |index| format!("{}{index:02}", "x".repeat(1000));
                let calls = (0..WAITING).map(|index| wait(&id(index)));
                let calls = calls.collect::<String>() + PING;
                stream.exchange(&calls.into(), PACKET, PONG).await?;
            }
            Scenario::WaitingOnStreams => {
                for index in 0..WAITING {
                    let mut other = peer.open()?;
                    let call = wait(&index.to_string()) + PING;
                    other.exchange(&call.into(), PACKET, PONG).await?;
                    others.push(other);
                }
            }
            Scenario::EarlyCancellations => {
                let params = |id| format!("{{\"id\":{id},\"stream\":0,\"offset\":1000000000}}");
                let cancellations = (0..KEPT).map(|id| cancel(&params(id)));
                let cancellations = cancellations.collect::<String>() + PING;
                stream.exchange(&cancellations.into(), PACKET, PONG).await?;
            }
            Scenario::Upload => {
                let sum = r#"{"jsonrpc":"2.0","id":1,"method":"sum","params":[]}"#;
                stream.send(&format!("{sum}\n").into(), PACKET).await;
            }
        }
        Some(Self {
            scenario,
            peer,
            stream,
            _others: others,
        })
    }

    /// Sends the messages, and waits until they were processed. Returns the number of bytes received, or `None` if the
    /// server closes the connection.
    pub async fn process(&mut self, messages: &Bytes) -> Option<usize> {
        self.process_chunks(messages, PACKET).await
    }

    /// Sends the messages as `process` does, in chunks of `chunk` bytes.
    pub(super) async fn process_chunks(&mut self, messages: &Bytes, chunk: usize) -> Option<usize> {
        let end = match self.scenario {
            Scenario::Upload => "\n{\"jsonrpc\":\"2.0\",\"method\":\"rpc.end\",\"params\":[1]}\n",
            _ => "\n",
        };
        let end = Bytes::from(format!("{end}{PING}"));
        let Self { peer, stream, .. } = self;
        if self.scenario == Scenario::WaitingOnStreams {
            peer.send(messages, chunk).await;
            return stream.exchange(&end, PACKET, PONG).await;
        }
        let all = Bytes::from([&messages[..], &end[..]].concat());
        stream.exchange(&all, chunk, PONG).await
    }
}

fn wait(id: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"method\":\"wait\"}}\n")
}
