//! Attacks that make the server hold memory.

use std::time::Duration;

use crate::message::{item, line};
use futures_util::future::try_join_all;
use quinn::{Connection, RecvStream};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::hostile::{Closed, Ended, Hostile, call};

const MIB: usize = 1 << 20;

/// The number of nearly complete messages whose buffers fit the budget of a connection.
const PREPARED: usize = 20;

/// Returns an array of zeros as JSON of this number of bytes.
fn zeros(bytes: usize) -> String {
    format!("[{}0]", "0,".repeat(bytes / 2))
}

/// Returns a call of `hang` of nearly a mebibyte, with zeros in an unknown member.
fn ignored_zeros() -> String {
    let head = r#"{"jsonrpc":"2.0","id":1,"method":"hang","params":[],"ignored":"#;
    format!("{head}{}}}\n", zeros(MIB - 200))
}

/// Returns a call of `count` of nearly a mebibyte, with zeros as its parameter.
fn zero_parameters() -> String {
    call("count", &format!("[{}]", zeros(MIB - 200)))
}

/// Returns this call without its last bytes.
pub(super) fn half_sent() -> String {
    let mut text = zero_parameters();
    text.truncate(text.len() - 4);
    text
}

fn blobs(count: usize, size: usize) -> String {
    let entry = json!({"jsonrpc": "2.0", "id": 1, "method": "blob", "params": [size]});
    line(vec![entry; count])
}

impl Hostile {
    /// Sends `text` on each of the streams, reads nothing, and keeps them open. Replaces streams that the server stops.
    pub(super) async fn keep(&self, connection: &Connection, streams: usize, text: &str) -> Ended {
        self.begun.notify_one();
        let keep = async || -> Ended {
            loop {
                let (mut send, _recv) = connection.open_bi().await?;
                // The server stops a stream that it reads no further.
                if send.write_all(text.as_bytes()).await.is_ok() {
                    self.has_done(1);
                    let _ = send.stopped().await;
                }
            }
        };
        let ended = try_join_all((0..streams).map(|_| keep())).await?;
        Ok(ended[0])
    }

    async fn keep_unread(&self, streams: usize, text: &str) -> Ended {
        let connection = self.connect_without_reading().await?;
        self.keep(&connection, streams, text).await
    }

    pub(super) async fn unread_replies(&self) -> Ended {
        let replies = call("late_blob", "[200,200000]").repeat(40);
        self.keep_unread(32, &(call("news", "[]") + &replies)).await
    }

    pub(super) async fn ignored_zeros(&self) -> Ended {
        let connection = self.connect().await?;
        self.keep(&connection, 32, &ignored_zeros().repeat(4)).await
    }

    pub(super) async fn zero_parameters(&self) -> Ended {
        let connection = self.connect().await?;
        self.keep(&connection, 32, &zero_parameters().repeat(4))
            .await
    }

    pub(super) async fn prepared_messages(&self) -> Ended {
        let connection = self.connect().await?;
        self.begun.notify_one();
        let text = zero_parameters();
        let (last, prepared) = text.as_bytes().split_last().ok_or("no message")?;
        let mut streams = Vec::new();
        for _ in 0..PREPARED {
            let (mut send, recv) = connection.open_bi().await?;
            send.write_all(prepared).await?;
            streams.push((send, recv));
        }
        // The server answers these after it has read all earlier messages.
        let (mut send, mut recv) = connection.open_bi().await?;
        for _ in 0..20 {
            send.write_all(call("rpc.ping", "[]").as_bytes()).await?;
            read_lines(&mut recv, 1).await?;
        }
        for (send, _) in &mut streams {
            send.write_all(&[*last]).await?;
            self.has_done(1);
        }
        self.wait(&connection).await
    }

    pub(super) async fn half_sent_large(&self) -> Ended {
        let connection = self.connect().await?;
        self.keep(&connection, 100, &half_sent()).await
    }

    pub(super) async fn waiting_messages(&self) -> Ended {
        let connection = self.connect().await?;
        let (mut send, _recv) = connection.open_bi().await?;
        send.write_all(call("hang", "[]").repeat(128).as_bytes())
            .await?;
        self.keep(&connection, 99, &zero_parameters()).await
    }

    pub(super) async fn idle_workers(&self) -> Ended {
        let connection = self.connect().await?;
        self.begun.notify_one();
        let (mut ping_send, mut ping_recv) = connection.open_bi().await?;
        let text = "x".repeat(31 << 10);
        let echo = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":[100,"{text}"],"ignored":{}}}"#,
            zeros(10 << 10)
        );
        let burst = (echo + "\n").repeat(128);
        let mut streams = Vec::new();
        loop {
            if streams.len() < 60 {
                let (mut send, mut recv) = connection.open_bi().await?;
                let write = async { Ok::<_, Closed>(send.write_all(burst.as_bytes()).await?) };
                tokio::try_join!(write, read_lines(&mut recv, 128))?;
                self.has_done(128);
                streams.push((send, recv));
            } else {
                sleep(Duration::from_millis(500)).await;
            }
            ping_send
                .write_all(call("rpc.ping", "[]").as_bytes())
                .await?;
            read_lines(&mut ping_recv, 1).await?;
        }
    }

    pub(super) async fn batches(&self) -> Ended {
        self.exchange(&blobs(100, 40_000), 1).await
    }

    pub(super) async fn unread_batches(&self) -> Ended {
        self.keep_unread(32, &blobs(100, 40_000)).await
    }

    pub(super) async fn uploads(&self) -> Ended {
        let connection = self.connect().await?;
        let items = line(item(1, "x".repeat(100_000))).repeat(50);
        self.keep(&connection, 90, &(call("pile", "[]") + &items))
            .await
    }

    pub(super) async fn unread_items(&self) -> Ended {
        self.keep_unread(60, &call("endless", "[100000]")).await
    }

    pub(super) async fn escaped_replies(&self) -> Ended {
        let text = "\\u0001".repeat(170_000);
        let echo = call("echo", &format!("[0,\"{text}\"]"));
        self.keep_unread(32, &echo.repeat(4)).await
    }

    pub(super) async fn tiny_unread(&self) -> Ended {
        self.keep_unread(64, &"1\n".repeat(500_000)).await
    }

    pub(super) async fn oversized(&self) -> Ended {
        let connection = self.connect().await?;
        self.keep(&connection, 64, &"[".repeat(8 * MIB)).await
    }
}

async fn read_lines(recv: &mut RecvStream, count: usize) -> Result<(), Closed> {
    let mut left = count;
    while left > 0 {
        let chunk = timeout(Duration::from_secs(10), recv.read_chunk(usize::MAX, true)).await??;
        let chunk = chunk.ok_or("the server has ended the stream")?;
        let lines = chunk.bytes.iter().filter(|byte| **byte == b'\n').count();
        left = left.saturating_sub(lines);
    }
    Ok(())
}
