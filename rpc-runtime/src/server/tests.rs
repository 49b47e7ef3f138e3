//! Tests of the server's allocations for each message and of its retained memory, without this crate's client.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio::time::{pause, resume, sleep};

use crate::client::callback::IntoServePeer;
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::service::router::Single;
use crate::transport::memory::{self, Connection, RecvStream, SendStream};
use crate::{Limits, rpc};

#[rpc(crate = crate)]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn length(&self, text: &str) -> usize;
    /// Returns the text once [`SIMULTANEOUS`] calls are waiting.
    async fn meet(&self, text: &str) -> String;
}

/// Number of calls that [`Desk::meet`] waits for.
const SIMULTANEOUS: usize = 128;

struct Plain {
    barrier: Barrier,
}

impl Desk for Plain {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn meet(&self, text: &str) -> String {
        self.barrier.wait().await;
        text.to_owned()
    }
}

/// A stream to a server in memory, on the same thread.
struct Line {
    runtime: Runtime,
    send: SendStream,
    recv: RecvStream,
    connection: Connection,
}

impl Line {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (here, there) = memory::pair();
        let plain = Plain {
            barrier: Barrier::new(SIMULTANEOUS),
        };
        let server = Single(DeskServer::new(plain)).into_serve_peer(
            Limits::default(),
            DiscoverOptions::default(),
            EventHook::default(),
        );
        let serving = server.serve(crate::transport::Connection::Memory(there), None);
        runtime.spawn(serving);
        let (send, recv) = here.open_bi().unwrap();
        Self {
            runtime,
            send,
            recv,
            connection: here,
        }
    }

    /// Sends one message and returns the line of its reply.
    fn ask(&mut self, message: &Bytes) -> Bytes {
        let Self {
            runtime,
            send,
            recv,
            ..
        } = self;
        runtime.block_on(async {
            send.write_chunk(message.clone()).await.unwrap();
            recv.read_chunk().await.unwrap().unwrap()
        })
    }

    /// Returns the number of allocations for 50 replies of a warm server to `message`.
    fn allocations(&mut self, message: &Bytes) -> u64 {
        for _ in 0..50 {
            self.ask(message);
        }
        let counted = allocation_counter::measure(|| {
            for _ in 0..50 {
                self.ask(message);
            }
        });
        counted.count_total
    }

    /// Makes large simultaneous calls: `shared` of them on one stream, and the other calls on dedicated streams.
    fn burst(&mut self, shared: usize) {
        let call = |length: usize| {
            let text = "x".repeat(length);
            line(format!(
                r#"{{"jsonrpc":"2.0","id":"{length}","method":"meet","params":["{text}"]}}"#
            ))
        };
        let calls: Vec<_> = (1..=SIMULTANEOUS).map(|n| call(n * 512 - 100)).collect();
        let (shared, own) = calls.split_at(shared);
        let Self {
            runtime,
            send,
            recv,
            connection,
        } = self;
        runtime.block_on(async {
            let mut dedicated = Vec::new();
            for call in own {
                let (mut send, recv) = connection.open_bi().unwrap();
                send.write_chunk(call.clone()).await.unwrap();
                send.finish();
                dedicated.push(recv);
            }
            let write = async {
                for call in shared {
                    send.write_chunk(call.clone()).await.unwrap();
                }
            };
            let read = async {
                let mut replies = 0;
                while replies < shared.len() {
                    let chunk = recv.read_chunk().await.unwrap().unwrap();
                    replies += chunk.iter().filter(|byte| **byte == b'\n').count();
                }
            };
            tokio::join!(write, read);
            for mut recv in dedicated {
                while recv.read_chunk().await.unwrap().is_some() {}
            }
            // Opening a stream makes the transport remove finished streams.
            drop(connection.open_bi());
        });
    }

    /// Advances the clock until the connection is idle.
    fn idle(&mut self) {
        self.runtime.block_on(async {
            pause();
            sleep(Duration::from_secs(5)).await;
            resume();
        });
    }
}

fn line(message: impl Into<String>) -> Bytes {
    Bytes::from(message.into() + "\n")
}

/// Returns a batch of `length` calls.
fn batch(length: usize) -> Bytes {
    let entry = r#"{"jsonrpc":"2.0","id":"a","method":"add","params":{"b":1,"a":2}}"#;
    line(format!("[{}]", vec![entry; length].join(",")))
}

#[test]
fn entries_of_a_batch_are_free() {
    let mut server = Line::new();
    assert_eq!(server.allocations(&batch(1)), 0);
    assert_eq!(server.allocations(&batch(100)), 0);
}

#[test]
fn messages_that_are_none_leave_the_next_ones_free() {
    let call = line(r#"{"jsonrpc":"2.0","id":1,"method":"length","params":["a\tb"]}"#);
    let broken = [
        line(r#"{"jsonrpc":"2.0","id":1,"method":"length","params":["a\"#),
        line("[[[[[[[["),
        line("[".repeat(2000)),
        line(r#"{"jsonrpc":"1.0","id":1}"#),
        line("\u{1f980}"),
        line("[1,2,3]"),
        line("7"),
    ];
    let mut server = Line::new();
    for _ in 0..3 {
        broken.iter().for_each(|message| drop(server.ask(message)));
    }
    assert_eq!(server.allocations(&call), 0);
    for message in &broken {
        assert_eq!(server.allocations(message), 0, "{message:?}");
        assert_eq!(server.allocations(&call), 0, "after {message:?}");
    }
}

#[test]
fn a_huge_message_leaves_nothing_behind() {
    let mut server = Line::new();
    let small = line(r#"{"jsonrpc":"2.0","id":1,"method":"length","params":["a"]}"#);
    let text = line(format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"length","params":["{}"]}}"#,
        "x".repeat(1_000_000)
    ));
    let nodes = line(format!("[{}1]", "1,".repeat(500_000)));
    let open = line("[".repeat(1_000_000));
    server.allocations(&small);
    let kept = allocation_counter::measure(|| {
        for message in [&text, &nodes, &open, &text] {
            server.ask(message);
            server.ask(&small);
        }
    });
    assert!(
        kept.bytes_max > 1_000_000,
        "the messages took {} bytes",
        kept.bytes_max
    );
    assert!(
        kept.bytes_current < 64 << 10,
        "{} bytes are kept",
        kept.bytes_current
    );
}

#[test]
fn an_idle_connection_keeps_little_of_what_it_had_when_it_was_busy() {
    let mut server = Line::new();
    let small = line(r#"{"jsonrpc":"2.0","id":1,"method":"length","params":["a"]}"#);
    server.allocations(&small);
    server.idle();
    for shared in [SIMULTANEOUS, SIMULTANEOUS / 2] {
        let mut busy = 0;
        let kept = allocation_counter::measure(|| {
            busy = allocation_counter::measure(|| {
                server.burst(shared);
                server.ask(&batch(100));
            })
            .bytes_current;
            server.idle();
        });
        assert!(busy > 1 << 20, "{busy} bytes are kept at once");
        assert!(
            kept.bytes_current < 32 << 10,
            "{} of {busy} bytes are kept",
            kept.bytes_current
        );
    }
    // The connection still serves calls without allocations.
    server.burst(SIMULTANEOUS);
    assert_eq!(server.allocations(&small), 0);
}
