//! Streams of items that are used in odd ways.
#![allow(dead_code)] // of what it shares with other tests

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, ErrorObject, Limits, rpc};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::peer::{self, Host};
use crate::support::{serve, soon};

#[rpc]
trait Desk {
    fn numbers(&self) -> impl Stream<Item = u64>;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    fn big(&self) -> impl Stream<Item = String>;
    fn one(&self) -> impl Stream<Item = u64>;
    fn polite(&self) -> impl Stream<Item = u64>;
    fn panics(&self) -> impl Stream<Item = u64>;
    fn panics_in_drop(&self) -> impl Stream<Item = u64>;
    fn echo(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    async fn late_sum(&self, items: impl Stream<Item = u64>) -> u64;
    async fn unordered(&self, items: impl Stream<Item = u64>) -> u64;
    async fn forget(&self, items: impl Stream<Item = u64>) -> u64;
    async fn past_end(&self, items: impl Stream<Item = u64>) -> u64;
    async fn misleads(&self) -> Result<u64, ErrorObject>;
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn pause(&self, millis: u64) -> u64;
    /// Waits until eight are there.
    async fn meet(&self) -> bool;
}

#[derive(Clone)]
struct Clerk {
    eight: Arc<tokio::sync::Barrier>,
    door: Arc<Notify>,
    taken: Arc<AtomicUsize>,
}

impl Default for Clerk {
    fn default() -> Self {
        Self {
            eight: Arc::new(tokio::sync::Barrier::new(8)),
            door: Arc::default(),
            taken: Arc::default(),
        }
    }
}

struct Bomb;
impl Stream for Bomb {
    type Item = u64;
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        Poll::Ready(Some(1))
    }
}
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose, in drop")
    }
}

impl Desk for Clerk {
    fn numbers(&self) -> impl Stream<Item = u64> {
        stream::iter(0..)
    }
    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(0..to)
    }
    fn big(&self) -> impl Stream<Item = String> {
        stream::iter(0..).map(|_| "x".repeat(300_000))
    }
    fn one(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::pending())
    }
    fn polite(&self) -> impl Stream<Item = u64> {
        let taken = Arc::clone(&self.taken);
        stream::iter(0..).then(move |n| {
            let taken = taken.clone();
            async move {
                tokio::task::yield_now().await;
                taken.fetch_add(1, Ordering::Relaxed);
                n
            }
        })
    }
    fn panics(&self) -> impl Stream<Item = u64> {
        stream::iter(0..).map(|n| if n == 3 { panic!("on purpose") } else { n })
    }
    fn panics_in_drop(&self) -> impl Stream<Item = u64> {
        Bomb
    }
    fn echo(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        items
    }
    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        items.fold(0, async |a, b| a + b).await
    }
    async fn late_sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.door.notified().await;
        let mut items = pin!(items);
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item;
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        sum
    }
    async fn unordered(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut all = FuturesUnordered::new();
        all.push(Box::pin(items.fold(0, async |a, b| a + b)));
        all.next().await.unwrap()
    }
    async fn forget(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = Box::pin(items);
        let first = items.next().await;
        std::mem::forget(items);
        tokio::time::sleep(Duration::from_millis(20)).await;
        first.unwrap()
    }
    async fn past_end(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = pin!(items);
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item;
        }
        for _ in 0..3 {
            assert!(items.next().await.is_none());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(items.next().await.is_none());
        sum
    }
    async fn misleads(&self) -> Result<u64, ErrorObject> {
        Err(ErrorObject::new(-32004, "Stream ended"))
    }
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn meet(&self) -> bool {
        self.eight.wait().await;
        true
    }
    async fn pause(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }
}

async fn desk(limits: Limits) -> (DeskClient, Clerk, rpc_runtime::ServerHandle) {
    let clerk = Clerk::default();
    let (client, server) = serve(DeskServer::new(clerk.clone()), limits).await;
    (DeskClient::new(client), clerk, server)
}

#[tokio::test]
async fn odd_handlers() {
    let (desk, _, server) = desk(Limits {
        calls_per_connection: 2,
        ..Limits::default()
    })
    .await;
    for _ in 0..5 {
        let mut items = Box::pin(desk.panics());
        let mut last = None;
        while let Some(item) = soon(items.next()).await {
            last = Some(item);
        }
        assert!(matches!(last, Some(Err(CallError::Remote(_)))), "{last:?}");
        let mut items = Box::pin(desk.panics_in_drop());
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
        drop(items);
        assert_eq!(
            soon(desk.unordered(stream::iter(0..1000))).await.unwrap(),
            499_500
        );
        assert_eq!(soon(desk.forget(stream::iter(5..))).await.unwrap(), 5);
        assert_eq!(soon(desk.past_end(stream::iter(0..10))).await.unwrap(), 45);
        assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    }
    assert!(soon(server.shutdown(Duration::from_secs(5))).await);
}

#[tokio::test]
async fn a_caller_whose_items_panic() {
    let (desk, _, server) = desk(Limits {
        calls_per_connection: 1,
        ..Limits::default()
    })
    .await;
    for _ in 0..3 {
        let bad = || stream::iter(0u64..).map(|n| if n == 3 { panic!("on purpose") } else { n });
        let call = tokio::spawn({
            let desk = desk.clone();
            async move { desk.sum(bad()).await }
        });
        assert!(soon(call).await.unwrap_err().is_panic());
        let call = tokio::spawn({
            let desk = desk.clone();
            async move { desk.echo(bad()).collect::<Vec<_>>().await }
        });
        assert!(soon(call).await.unwrap_err().is_panic());
        assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    }
    assert!(soon(server.shutdown(Duration::from_secs(5))).await);
}

#[tokio::test]
async fn a_shutdown_with_a_stalled_reader_and_a_stalled_upload() {
    let (desk, _, server) = desk(Limits::default()).await;
    let mut items = Box::pin(desk.numbers());
    soon(items.next()).await.unwrap().unwrap();
    let mut big = Box::pin(desk.big());
    soon(big.next()).await.unwrap().unwrap();
    let up = tokio::spawn({
        let desk = desk.clone();
        async move { desk.late_sum(stream::iter(0..)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    let all = soon(server.shutdown(Duration::from_millis(100))).await;
    println!("{all} after {:?}", begun.elapsed());
    println!("upload: {:?}", soon(up).await.unwrap());
    let last = soon(async {
        let mut last = None;
        while let Some(item) = items.next().await {
            last = Some(item);
        }
        last
    })
    .await;
    println!("items: {last:?}");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_client_closes_with_stalled_streams() {
    let (client, _server) = serve(DeskServer::new(Clerk::default()), Limits::default()).await;
    let desk = DeskClient::new(client.clone());
    let mut items = Box::pin(desk.numbers());
    soon(items.next()).await.unwrap().unwrap();
    let mut echo = Box::pin(desk.echo(stream::iter(0..)));
    soon(echo.next()).await.unwrap().unwrap();
    let begun = Instant::now();
    soon(client.close()).await;
    println!("closed after {:?}", begun.elapsed());
    soon(async {
        while let Some(item) = echo.next().await {
            if item.is_err() {
                println!("{item:?}");
            }
        }
    })
    .await;
}

/// Random lines, resets, stops and ends on shared streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos() {
    let clerk = Clerk::default();
    let host = Host::start(
        DeskServer::new(clerk.clone()),
        Limits {
            calls_per_connection: 8,
            cancellations: usize::MAX,
            late_messages: usize::MAX,
            ..Limits::default()
        },
    );
    let connection = host.connect().await;
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut tasks = Vec::new();
    for task in 0..6 {
        let connection = connection.clone();
        let mut rng = fastrand::Rng::with_seed(seed * 100 + task);
        tasks.push(tokio::spawn(async move {
            for _ in 0..60 {
                let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
                let mut uni = if rng.u8(..4) == 0 { Some(soon(connection.open_uni()).await.unwrap()) } else { None };
                for _ in 0..rng.u32(1..12) {
                    let id = rng.u64(0..4);
                    let method = *rng.choice(&["sum", "echo", "count", "numbers", "one", "panics", "panics_in_drop", "add", "pause", "forget", "past_end", "unordered", "polite"][..].iter().collect::<Vec<_>>()).unwrap();
                    let params = match *method { "count" => "[50]", "add" => "[1,2]", "pause" => "[3]", _ => "[]" };
                    let extra = if rng.bool() { ",\"timeout\":20" } else { "" };
                    let line = match rng.u8(..10) {
                        0..=3 => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}{extra}}}\n"),
                        4..=6 => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[{id},7]}}\n").repeat(rng.usize(1..5)),
                        7 => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.end\",\"params\":[{id}]}}\n"),
                        8 => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":[{id}]}}\n"),
                        _ => "{bad\n".to_owned(),
                    };
                    if soon(send.write_all(line.as_bytes())).await.is_err() { break; }
                    if rng.u8(..3) == 0 {
                        tokio::time::sleep(Duration::from_millis(rng.u64(0..6))).await;
                    }
                    if rng.u8(..3) == 0 {
                        let _ = timeout(Duration::from_millis(5), recv.read_chunk(rng.usize(1..5000), true)).await;
                    }
                    if let Some(uni) = &mut uni && rng.u8(..3) == 0 {
                        let cancel = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":[{id}]}}\n");
                        let _ = soon(uni.write_all(cancel.as_bytes())).await;
                    }
                }
                match rng.u8(..5) {
                    0 => { let _ = send.reset(1u32.into()); }
                    1 => { let _ = recv.stop(1u32.into()); let _ = send.finish(); }
                    2 => { let _ = send.finish(); let _ = timeout(Duration::from_millis(50), recv.read_to_end(1 << 22)).await; }
                    3 => { let _ = recv.stop(1u32.into()); }
                    _ => {}
                }
                let _ = send.reset(1u32.into());
                let _ = recv.stop(1u32.into());
            }
        }));
    }
    for task in tasks {
        timeout(Duration::from_secs(60), task)
            .await
            .expect("stuck")
            .unwrap();
    }
    // All places are free again.
    let meet = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"meet\",\"params\":[]}\n".repeat(8);
    let replies = peer::exchange(&connection, meet.as_bytes()).await;
    assert_eq!(replies.len(), 8);
    assert!(
        timeout(
            Duration::from_secs(10),
            host.handle.shutdown(Duration::from_secs(5))
        )
        .await
        .unwrap(),
        "not drained"
    );
}
