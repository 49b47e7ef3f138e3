//! Streams of items, datagrams and drains in odd places.
#![allow(dead_code)] // of what it shares with other tests

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, Fate, Limits, Responder, rpc};
use tokio::sync::Notify;

use crate::peer::{self, Host};
use crate::support::{serve, soon};

#[rpc]
trait Desk {
    fn numbers(&self) -> impl Stream<Item = u64>;
    fn big(&self) -> impl Stream<Item = String>;
    fn one(&self) -> impl Stream<Item = u64>;
    async fn first(&self, items: impl Stream<Item = u64>) -> u64;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn call_back(&self, cx: &Context) -> u64;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

#[derive(Clone, Default)]
struct Clerk {
    noted: Arc<AtomicUsize>,
    kept: Arc<std::sync::Mutex<Vec<Client>>>,
    door: Arc<Notify>,
}

impl Desk for Clerk {
    fn numbers(&self) -> impl Stream<Item = u64> {
        stream::iter(0..)
    }
    fn big(&self) -> impl Stream<Item = String> {
        stream::iter(0..).map(|_| "x".repeat(300_000))
    }
    fn one(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::pending())
    }
    async fn first(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = pin!(items);
        items.next().await.unwrap()
    }
    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        items.fold(0, async |a, b| a + b).await
    }
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn call_back(&self, cx: &Context) -> u64 {
        let back = cx.client::<DeskClient>();
        self.kept.lock().unwrap().push(cx.client());
        let mut items = pin!(back.numbers());
        let up = back.sum(stream::iter(0..10)).await.unwrap();
        up + items.next().await.unwrap().unwrap()
    }
    async fn note(&self, _: &str) {
        self.noted.fetch_add(1, Ordering::Relaxed);
    }
}

async fn desk(limits: Limits) -> (DeskClient, Clerk, rpc_runtime::ServerHandle) {
    let clerk = Clerk::default();
    let (client, server) = serve(DeskServer::new(clerk.clone()), limits).await;
    (DeskClient::new(client), clerk, server)
}

#[tokio::test]
async fn early_answers_are_no_cancellations() {
    let (desk, _, _server) = desk(Limits {
        cancellations: 20,
        cancellations_per_second: 0,
        ..Limits::default()
    })
    .await;
    for n in 0..100 {
        let first = soon(desk.first(stream::iter(n..))).await;
        assert!(matches!(first, Ok(first) if first == n), "{first:?}");
    }
}

#[tokio::test]
async fn no_items_elsewhere() {
    let mut responder = Responder::new(DeskServer::new(Clerk::default()));
    for call in ["numbers", "sum"] {
        let request = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{call}\"}}");
        let answer =
            String::from_utf8(soon(responder.respond(request.as_bytes())).await.to_vec()).unwrap();
        assert!(answer.contains("-32600"), "{answer}");
        let batch = format!("[{request}]");
        let answer =
            String::from_utf8(soon(responder.respond(batch.as_bytes())).await.to_vec()).unwrap();
        assert!(answer.contains("-32600"), "{answer}");
    }
    let host = Host::start(DeskServer::new(Clerk::default()), Limits::default());
    let connection = host.connect().await;
    connection.send_datagram("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"numbers\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"sum\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,2]}".into()).unwrap();
    let mut uni = soon(connection.open_uni()).await.unwrap();
    uni.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"numbers\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"sum\"}\n").await.unwrap();
    let lines = b"{\"jsonrpc\":\"2.0\",\"method\":\"numbers\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,2]}\n{\"jsonrpc\":\"2.0\",\"method\":\"rpc.end\",\"params\":[1]}\n[{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"numbers\"}]\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"add\",\"params\":[1,2]}\n";
    let replies = peer::exchange(&connection, lines).await;
    println!("{replies:?}");
    assert_eq!(replies.len(), 2);
}

#[tokio::test]
async fn a_flood_of_datagrams() {
    let clerk = Clerk::default();
    let host = Host::start(DeskServer::new(clerk.clone()), Limits::default());
    let connection = host.connect().await;
    let begun = Instant::now();
    for n in 0..200_000 {
        let _ = connection
            .send_datagram("{\"jsonrpc\":\"2.0\",\"method\":\"note\",\"params\":[\"x\"]}".into());
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let add = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"add\",\"params\":[1,2]}\n";
    assert_eq!(peer::exchange(&connection, add).await[0]["result"], 3);
    println!(
        "{} noted, {:?}",
        clerk.noted.load(Ordering::Relaxed),
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_client_that_keeps_its_caller() {
    let identity = rpc_runtime::Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let trust = rpc_runtime::Trust::certificate(identity.certificate());
    let clerk = Clerk::default();
    let server = rpc_runtime::Server::builder(identity)
        .service(DeskServer::new(clerk.clone()))
        .bind("127.0.0.1:0")
        .unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    let run = tokio::spawn(server.run());
    for _ in 0..3 {
        let client = Client::builder()
            .trust(trust.clone())
            .reconnect(false)
            .service(DeskServer::new(Clerk::default()))
            .connect(address)
            .await
            .unwrap();
        assert_eq!(
            soon(DeskClient::new(client.clone()).call_back())
                .await
                .unwrap(),
            45
        );
        drop(client);
    }
    let client = Client::builder()
        .trust(trust.clone())
        .reconnect(false)
        .service(DeskServer::new(Clerk::default()))
        .connect(address)
        .await
        .unwrap();
    assert_eq!(
        soon(DeskClient::new(client.clone()).call_back())
            .await
            .unwrap(),
        45
    );
    let begun = Instant::now();
    assert!(soon(handle.shutdown(Duration::from_secs(5))).await);
    println!("{:?}", begun.elapsed());
    soon(run).await.unwrap();
    let kept = clerk.kept.lock().unwrap().clone();
    for client in kept {
        println!("{:?}", soon(client.closed()).await);
        let error = soon(DeskClient::new(client).add(1, 2)).await.unwrap_err();
        assert!(
            matches!(
                error,
                CallError::Connection {
                    fate: Fate::NotSent,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// Streams that are called while the server drains are told the truth: what ran has said so before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_that_ran_is_told_that_it_did_not() {
    #[rpc]
    trait Journal {
        fn write(&self, line: u64) -> impl Stream<Item = u64>;
        async fn upload(&self, line: u64, items: impl Stream<Item = u64>) -> u64;
    }
    #[derive(Clone, Default)]
    struct Book(Arc<std::sync::Mutex<Vec<u64>>>);
    impl Journal for Book {
        fn write(&self, line: u64) -> impl Stream<Item = u64> {
            self.0.lock().unwrap().push(line);
            stream::iter(0..line % 3)
        }
        async fn upload(&self, line: u64, items: impl Stream<Item = u64> + Send) -> u64 {
            self.0.lock().unwrap().push(line);
            items.fold(0, async |a, b| a + b).await
        }
    }
    for round in 0..20u64 {
        let book = Book::default();
        let (client, server) = serve(JournalServer::new(book.clone()), Limits::default()).await;
        let journal = JournalClient::new(client);
        let tasks: Vec<_> = (0..16u64)
            .map(|task| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    for n in 0..1000 {
                        let line = task * 1000 + n;
                        let error = match task % 2 {
                            0 => {
                                let mut items = pin!(journal.write(line).no_retry());
                                let mut end = None;
                                let mut came = 0;
                                while let Some(item) = soon(items.next()).await {
                                    match item {
                                        Ok(_) => came += 1,
                                        Err(error) => end = Some(error),
                                    }
                                }
                                if end.is_none() {
                                    assert_eq!(came, line % 3)
                                }
                                end
                            }
                            _ => soon(journal.upload(line, stream::iter(0..line % 3)))
                                .await
                                .err(),
                        };
                        if let Some(error) = error {
                            let is_over = matches!(
                                &error,
                                CallError::Connection {
                                    fate: Fate::NotSent,
                                    ..
                                }
                            );
                            told.push((line, error));
                            if is_over {
                                break;
                            }
                        }
                    }
                    told
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5 + round * 3)).await;
        let all =
            soon(server.shutdown(Duration::from_millis(if round % 2 == 0 { 2000 } else { 0 })))
                .await;
        let mut counts = [0; 3];
        for task in tasks {
            for (line, error) in soon(task).await.unwrap() {
                let ran = book.0.lock().unwrap().contains(&line);
                match error {
                    CallError::Connection {
                        fate: Fate::MayHaveExecuted,
                        ..
                    } => counts[2] += 1,
                    CallError::Connection { fate, reason } => {
                        counts[0] += 1;
                        assert!(!ran, "{line} ran and was told {fate:?} {reason}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(
            !all || counts[2] == 0,
            "of {} nobody knows after a clean drain",
            counts[2]
        );
        println!(
            "round {round}: all {all}, not executed {}, unsure {}",
            counts[0], counts[2]
        );
    }
}
