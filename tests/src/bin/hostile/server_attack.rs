//! The attacks of a raw server on its client.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use futures_util::future::try_join_all;
use quinn::{Connection, RecvStream, SendStream};
use serde::{Deserialize, Serialize};
use tests::message::{call_line, cancel, item, line, notification};
use tests::peer::RawServer;
use tests::process::{answer, requests};
use tokio::io::{AsyncBufReadExt, BufReader, repeat};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::serve::ServerAddress;

type Closed = Box<dyn Error + Send + Sync>;

/// The error that ended the connection: an attack continues until then.
type Ended = Result<Infallible, Closed>;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum ServerAttack {
    UnansweredCalls,
    HalfReplies,
    EndlessReplies,
    UnknownReplies,
    DenseResults,
    UntakenReplies,
    LargeErrors,
    UntakenItems,
    HalfItems,
    WaitingCallbacks,
    HalfCallbacks,
    UnreadCallbacks,
    Notifications,
    CancellationNoise,
    PushedDatagrams,
}

impl ServerAttack {
    pub(crate) const ALL: [Self; 15] = [
        Self::UnansweredCalls,
        Self::HalfReplies,
        Self::EndlessReplies,
        Self::UnknownReplies,
        Self::DenseResults,
        Self::UntakenReplies,
        Self::LargeErrors,
        Self::UntakenItems,
        Self::HalfItems,
        Self::WaitingCallbacks,
        Self::HalfCallbacks,
        Self::UnreadCallbacks,
        Self::Notifications,
        Self::CancellationNoise,
        Self::PushedDatagrams,
    ];
}

impl fmt::Display for ServerAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnansweredCalls => "none, but no call is answered",
            Self::HalfReplies => "replies of 3.9 MB without their last bytes, on every stream",
            Self::EndlessReplies => "replies without an end, on every stream",
            Self::UnknownReplies => "lines of 3.9 MB that answer no call, on every stream",
            Self::DenseResults => "results of 3.9 MB of zeros",
            Self::UntakenReplies => "replies of 1 MB, some of which are taken a second later",
            Self::LargeErrors => "errors with 3.9 MB of data",
            Self::UntakenItems => "items of 100 KB on every stream, of which one a second is taken",
            Self::HalfItems => "items of 3.9 MB without their last bytes, on every stream",
            Self::WaitingCallbacks => "calls of 1 MB of zeros on 90 streams, whose handlers wait",
            Self::HalfCallbacks => "calls of nearly 1 MiB without their last bytes on 90 streams",
            Self::UnreadCallbacks => "calls with results of 1 MB on 90 streams, not read",
            Self::Notifications => "notifications without an end on 90 streams",
            Self::CancellationNoise => "cancellations that find nothing on 90 streams",
            Self::PushedDatagrams => "notifications in datagrams",
        })
    }
}

/// Attacks each client that connects, until the first request.
pub(crate) async fn run(attack: ServerAttack) {
    let server = RawServer::start();
    answer(&ServerAddress {
        address: server.address(),
        certificate: server.certificate_pem().to_owned(),
    });
    let mut requests = requests::<()>();
    let attacking = async {
        let mut connections = JoinSet::new();
        while let Some(incoming) = server.endpoint.accept().await {
            connections.spawn(async move { attack.run(incoming.await?).await });
        }
    };
    tokio::select! {
        () = attacking => {}
        _ = requests.recv() => server.endpoint.close(0u32.into(), b""),
    }
    answer(&());
    requests.recv().await;
}

/// The length of the long part of a message, in bytes.
const MOST: usize = 3_900_000;

impl ServerAttack {
    async fn run(self, connection: Connection) -> Ended {
        let both = tokio::try_join!(self.answer_streams(&connection), self.push(&connection));
        both.map(|(ended, _)| ended)
    }

    async fn answer_streams(self, connection: &Connection) -> Ended {
        let mut streams = JoinSet::new();
        loop {
            let (send, recv) = connection.accept_bi().await?;
            streams.spawn(async move { self.answer_all(send, recv).await });
        }
    }

    /// Answers the calls of a stream.
    async fn answer_all(self, mut send: SendStream, recv: RecvStream) -> Result<(), Closed> {
        let mut calls = BufReader::new(recv).lines();
        while let Some(call) = calls.next_line().await? {
            let call: serde_json::Value = serde_json::from_str(&call)?;
            let Some(id) = call["id"].as_u64() else {
                continue;
            };
            if self
                .answer(id, call["method"] == "items", &mut send)
                .await?
            {
                // Later bytes of the stream could not be replies.
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    /// Answers a call. Returns `true` after a part of an answer.
    async fn answer(self, id: u64, has_items: bool, send: &mut SendStream) -> Result<bool, Closed> {
        let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"#);
        let text = "x".repeat(MOST);
        let reply = match self {
            Self::HalfReplies => head + r#""result":""# + &text,
            Self::EndlessReplies => {
                send.write_all((head + r#""result":""#).as_bytes()).await?;
                tokio::io::copy(&mut repeat(b'x'), send).await?;
                return Ok(true);
            }
            Self::UnknownReplies => {
                let reply = format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":\"{text}\"}}\n",
                    1u64 << 50
                );
                loop {
                    send.write_all(reply.as_bytes()).await?;
                }
            }
            Self::DenseResults => format!("{head}\"result\":[{}0]}}\n", "0,".repeat(MOST / 2)),
            Self::UntakenReplies => format!("{head}\"result\":\"{}\"}}\n", &text[..1_000_000]),
            Self::LargeErrors => {
                format!("{head}\"error\":{{\"code\":5,\"message\":\"no\",\"data\":\"{text}\"}}}}\n")
            }
            Self::UntakenItems if has_items => {
                let item = line(item(id, &text[..100_000]));
                loop {
                    send.write_all(item.as_bytes()).await?;
                }
            }
            Self::HalfItems if has_items => {
                let item = line(item(id, text));
                item[..item.len() - 5].to_owned()
            }
            _ => return Ok(false),
        };
        send.write_all(reply.as_bytes()).await?;
        Ok(!reply.ends_with('\n'))
    }

    /// Sends messages that answer no call.
    async fn push(self, connection: &Connection) -> Ended {
        let zeros = || format!("[[{}0]]", "0,".repeat(500_000));
        let text = match self {
            Self::WaitingCallbacks => call_line(1, "count", &zeros()),
            Self::HalfCallbacks => call_line(1, "count", &zeros())
                .trim_end_matches("]}\n")
                .to_owned(),
            Self::UnreadCallbacks => call_line(1, "blob", "[1000000]").repeat(10),
            Self::Notifications => line(notification("count", [[0]])).repeat(1000),
            Self::CancellationNoise => line(cancel(77)).repeat(1000),
            Self::PushedDatagrams => {
                let note = line(notification("count", [[0; 400]]));
                loop {
                    connection.send_datagram_wait(note.clone().into()).await?;
                }
            }
            _ => return Err(connection.closed().await.into()),
        };
        let goes_on = matches!(self, Self::Notifications | Self::CancellationNoise);
        let push = async || -> Ended {
            loop {
                let (mut send, _recv) = connection.open_bi().await?;
                while send.write_all(text.as_bytes()).await.is_ok() && goes_on {}
                let _ = send.stopped().await;
                sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = try_join_all((0..90).map(|_| push())).await?;
        Ok(ended[0])
    }
}
