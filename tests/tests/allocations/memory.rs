//! A call that runs on warm buffers allocates nothing on either end.
//!
//! The client and the server share one thread, whose allocations and reallocations are counted.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
use rpc_runtime::{CallError, Client, Context, RpcError, code, rpc};
use serde::{Deserialize, Serialize};
use tests::support::current_thread;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn length(&self, text: &str) -> usize;
    async fn scale(&self, value: f64, factor: Option<f64>) -> f64;
    async fn weigh(&self, parcel: Parcel<'_>) -> usize;
    async fn later(&self, text: &str) -> usize;
    async fn buy(&self, item: u32) -> Result<u32, BuyError>;
    #[rpc(notification)]
    async fn note(&self, text: &str);
    #[rpc(notification, unreliable)]
    async fn mention(&self, text: &str);
    async fn noted(&self) -> u64;
    fn readings(&self, unit: &str) -> impl Stream<Item = Reading>;
    async fn sum(&self, items: impl Stream<Item = Reading>) -> u64;
    fn doubled(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64>;
    /// Returns the length that the caller measures.
    async fn measured(&self, cx: &Context, text: &str) -> Option<usize>;
    /// Sets metadata of the response.
    async fn stamped(&self, cx: &Context, text: &str) -> usize;
}

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    at: u64,
    celsius: f64,
    is_good: bool,
}

fn reading(at: u64) -> Reading {
    Reading {
        at,
        celsius: at as f64 / 2.0,
        is_good: !at.is_multiple_of(7),
    }
}

/// The service of the client.
#[rpc(namespace = "back")]
trait Back {
    async fn measure(&self, text: &str) -> usize;
}

struct Ruler;

impl Back for Ruler {
    async fn measure(&self, text: &str) -> usize {
        text.len()
    }
}

#[derive(Serialize, Deserialize)]
struct Parcel<'a> {
    to: &'a str,
    #[serde(borrow)]
    stamps: Stamps<'a>,
    grams: u32,
}

#[derive(Serialize, Deserialize)]
struct Stamps<'a> {
    first: &'a str,
    second: Option<&'a str>,
}

#[derive(Debug, thiserror::Error, RpcError)]
enum BuyError {
    #[error("sold out")]
    #[rpc(code = 1)]
    SoldOut,
    #[error("{price} is too much for {item}")]
    #[rpc(code = 2)]
    TooDear { item: u32, price: u32 },
}

#[derive(Default)]
struct Quiet {
    notes: AtomicU64,
}

/// A future that is pending once.
struct Once(Cell<bool>);

impl Future for Once {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.0.replace(true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Desk for Quiet {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn scale(&self, value: f64, factor: Option<f64>) -> f64 {
        value * factor.unwrap_or(2.0)
    }

    async fn weigh(&self, parcel: Parcel<'_>) -> usize {
        let stamps = parcel.stamps.first.len() + parcel.stamps.second.map_or(0, str::len);
        parcel.to.len() + stamps + parcel.grams as usize
    }

    async fn later(&self, text: &str) -> usize {
        Once(Cell::new(false)).await;
        text.len()
    }

    async fn buy(&self, item: u32) -> Result<u32, BuyError> {
        match item {
            0 => Err(BuyError::SoldOut),
            _ => Err(BuyError::TooDear { item, price: 7 }),
        }
    }

    async fn note(&self, _: &str) {
        self.notes.fetch_add(1, Ordering::Relaxed);
    }

    async fn mention(&self, text: &str) {
        self.note(text).await;
    }

    async fn noted(&self) -> u64 {
        self.notes.load(Ordering::Relaxed)
    }

    fn readings(&self, unit: &str) -> impl Stream<Item = Reading> {
        assert_eq!(unit, "\u{b0}C");
        // Every seventh item is pending once, so that the items before it are sent without it.
        let now_and_then = |reading: Reading| async move {
            if !reading.is_good {
                Once(Cell::new(false)).await;
            }
            reading
        };
        stream::iter(0..).map(reading).then(now_and_then)
    }

    async fn sum(&self, items: impl Stream<Item = Reading> + Send) -> u64 {
        items.fold(0, async |sum, reading| sum + reading.at).await
    }

    fn doubled(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        items.map(|number| 2 * number)
    }

    async fn measured(&self, cx: &Context, text: &str) -> Option<usize> {
        cx.client::<BackClient>().measure(text).await.ok()
    }

    async fn stamped(&self, cx: &Context, text: &str) -> usize {
        cx.set_response_meta("version", "1.2").unwrap();
        cx.set_response_meta("text", text).unwrap();
        text.len()
    }
}

const WARM_UP: usize = 300;
const COUNTED: usize = 300;

/// Returns the number of allocations of `call` on both ends, after a warm-up.
fn allocations(runtime: &Runtime, mut call: impl AsyncFnMut()) -> u64 {
    let mut repeat = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                call().await;
            }
        });
    };
    repeat(WARM_UP);
    allocation_counter::measure(|| repeat(COUNTED)).count_total
}

fn local() -> (Runtime, DeskClient, Client) {
    let runtime = current_thread();
    let builder = Client::builder().service(BackServer::new(Ruler));
    let client = runtime.block_on(async { builder.local(DeskServer::new(Quiet::default())) });
    (runtime, DeskClient::new(client.clone()), client)
}

#[test]
fn counter_counts_each_allocation() {
    let runtime = local().0;
    let boxed = allocations(&runtime, async || drop(std::hint::black_box(Box::new(1))));
    assert_eq!(boxed, COUNTED as u64);
}

#[test]
fn call_by_position_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn call_by_name_allocates_nothing() {
    #[derive(Serialize)]
    struct Sum {
        b: i64,
        a: i64,
    }
    let (runtime, _, client) = local();
    let call = async || {
        assert_eq!(
            client
                .call::<i64, _>("add", &Sum { b: 2, a: 1 })
                .await
                .unwrap(),
            3
        );
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn borrowed_text_allocates_nothing() {
    let (runtime, desk, _) = local();
    for text in [
        "plain",
        "an \"escaped\"\n\u{1f980} text",
        &"long \\ ".repeat(500),
        // A longer request has a dedicated stream.
        &"x".repeat(16_000),
    ] {
        let call = async || assert_eq!(desk.length(text).await.unwrap(), text.len());
        assert_eq!(allocations(&runtime, call), 0, "{text}");
    }
}

#[test]
fn numbers_and_options_allocate_nothing() {
    let (runtime, desk, client) = local();
    let call = async || {
        assert_eq!(desk.scale(1.5, Some(3.0)).await.unwrap(), 4.5);
        assert_eq!(desk.scale(1.5, None).await.unwrap(), 3.0);
        assert_eq!(client.call::<f64, _>("scale", &[1.5]).await.unwrap(), 3.0);
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn struct_with_borrowed_fields_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || {
        let stamps = Stamps {
            first: "blue\t",
            second: Some("red"),
        };
        let parcel = Parcel {
            to: "Ada \"L\"",
            stamps,
            grams: 4,
        };
        assert_eq!(desk.weigh(parcel).await.unwrap(), 19);
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn notification_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || {
        desk.note("remember \"this\"").await.unwrap();
        // Queued notifications need memory, so this waits until they are read.
        desk.noted().await.unwrap();
    };
    assert_eq!(allocations(&runtime, call), 0);
    let noted = runtime.block_on(desk.noted()).unwrap();
    assert!(noted >= WARM_UP as u64, "the notifications did arrive");
}

#[test]
fn unreliable_notification_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || {
        desk.mention("remember \"this\"").await.unwrap();
        desk.noted().await.unwrap();
    };
    assert_eq!(allocations(&runtime, call), 0);
    let noted = runtime.block_on(desk.noted()).unwrap();
    assert!(noted >= WARM_UP as u64, "the notifications did arrive");
}

#[test]
fn typed_error_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || {
        let sold_out = desk.buy(0).await;
        assert!(matches!(
            sold_out,
            Err(CallError::Application(BuyError::SoldOut))
        ));
        let dear = desk.buy(3).await;
        assert!(matches!(
            dear,
            Err(CallError::Application(BuyError::TooDear { item: 3, .. }))
        ));
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn unknown_method_allocates_its_error_message_and_data() {
    let (runtime, _, client) = local();
    let call = async || match client.call::<i64, _>("absent", &()).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::METHOD_NOT_FOUND),
        other => panic!("{other:?}"),
    };
    // The caller gets an error object, which owns its message, and its data with the name of the method.
    assert_eq!(allocations(&runtime, call), 2 * COUNTED as u64);
}

#[test]
fn pending_handler_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || assert_eq!(desk.later("plain").await.unwrap(), 5);
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn concurrent_pending_handlers_allocate_nothing() {
    let (runtime, desk, _) = local();
    let call = async || {
        let (a, b, c) = tokio::join!(desk.later("a"), desk.later("bc"), desk.later("def"));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (1, 2, 3));
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn call_back_to_the_caller_allocates_nothing() {
    let (runtime, desk, _) = local();
    let call = async || assert_eq!(desk.measured("a \"word\"").await.unwrap(), Some(8));
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn metadata_of_a_response_allocates_only_for_a_caller_that_reads_it() {
    let (runtime, desk, _) = local();
    let call = async || assert_eq!(desk.stamped("plain").await.unwrap(), 5);
    assert_eq!(allocations(&runtime, call), 0);
    let call = async || {
        let (stamped, metadata) = desk.stamped("plain").with_response_metadata().await;
        assert_eq!((stamped.unwrap(), metadata.get("text")), (5, Some("plain")));
    };
    assert_eq!(allocations(&runtime, call), 2 * COUNTED as u64);
    let call = async || {
        let (sum, metadata) = desk.add(1, 2).with_response_metadata().await;
        assert_eq!((sum.unwrap(), metadata.len()), (3, 0));
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn metadata_of_a_response_allocates_only_for_a_middleware_that_reads_it() {
    struct Pass;
    impl ClientMiddleware for Pass {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            next.run(request).await
        }
    }
    struct Ask;
    impl ClientMiddleware for Ask {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            let response = next.run(request).await;
            let version = response.metadata().get("version");
            assert_eq!(
                version,
                (request.method_name() == "stamped").then_some("1.2")
            );
            response
        }
    }
    let (runtime, _, client) = local();
    let passing = DeskClient::new(client.with_middleware(Pass));
    let asking = DeskClient::new(client.with_middleware(Ask));
    let [passed, asked] = [&passing, &asking].map(|desk| {
        let length = async || assert_eq!(desk.length("plain").await.unwrap(), 5);
        let stamped = async || assert_eq!(desk.stamped("plain").await.unwrap(), 5);
        [
            allocations(&runtime, length),
            allocations(&runtime, stamped),
        ]
    });
    assert_eq!(asked, [passed[0], passed[1] + 2 * COUNTED as u64]);
}

#[test]
fn call_with_a_timeout_allocates_nothing() {
    let (runtime, desk, _) = local();
    let timeout = std::time::Duration::from_secs(60);
    let call = async || assert_eq!(desk.later("plain").timeout(timeout).await.unwrap(), 5);
    assert_eq!(allocations(&runtime, call), 0);
}

/// Measures the memory that both ends keep after a burst of calls, once they are idle.
#[test]
fn burst_of_calls_leaves_little_memory_on_either_end() {
    let (runtime, desk, _) = local();
    let call = async || assert_eq!(desk.later("plain").await.unwrap(), 5);
    allocations(&runtime, call);
    let text = "x".repeat(60_000);
    let burst = async || {
        let calls = (0..512).map(|call| {
            // Half of the calls are too large for the shared stream.
            let text = &text[..[15_000, 60_000][call % 2]];
            desk.later(text).timeout(Duration::from_secs(60))
        });
        let mut callers: JoinSet<_> = calls.map(|call| call.into_future()).collect();
        while let Some(answer) = callers.join_next().await {
            answer.unwrap().unwrap();
        }
    };
    let mut busy = 0;
    let kept = allocation_counter::measure(|| {
        busy = allocation_counter::measure(|| runtime.block_on(burst())).bytes_current;
        runtime.block_on(async {
            tokio::time::pause();
            tokio::time::sleep(Duration::from_secs(5)).await;
            tokio::time::resume();
        });
        // The transport in memory frees finished streams when the next one is opened.
        runtime.block_on(async { desk.later("plain").dedicated_stream().await.unwrap() });
    });
    assert!(busy > 4 << 20, "{busy} bytes are kept at once");
    assert!(
        kept.bytes_current <= 64 << 10,
        "{} of {busy} bytes are kept",
        kept.bytes_current
    );
}

#[test]
fn messages_of_changing_size_allocate_nothing() {
    let (runtime, desk, _) = local();
    let text = "x".repeat(4096);
    let mut length = 0;
    let call = async || {
        length = (length + 613) % 4096;
        assert_eq!(desk.length(&text[..length]).await.unwrap(), length);
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn item_of_a_response_stream_allocates_nothing() {
    let (runtime, desk, _) = local();
    let mut readings = runtime.block_on(async { desk.readings("\u{b0}C") });
    let mut next = 0;
    let mut item = async || {
        for _ in 0..100 {
            let reading = readings.next().await.unwrap().unwrap();
            assert_eq!((reading.at, reading.celsius), (next, next as f64 / 2.0));
            next += 1;
        }
    };
    // While the caller lags behind, buffers grow for longer than one warm-up.
    for _ in 0..5 {
        allocations(&runtime, &mut item);
    }
    // tokio allocates a list of yielding tasks in each `block_on`.
    assert!(allocations(&runtime, item) <= 1);
}

#[test]
fn item_of_a_request_stream_allocates_nothing() {
    const ITEMS: u64 = 60_000;
    let (runtime, desk, _) = local();
    let mut counted = None;
    let first = stream::iter(0..ITEMS).map(reading);
    let second = stream::iter(0..ITEMS).map(reading);
    runtime.block_on(async {
        let _ = desk.sum(first).await.unwrap();
    });
    let measured = allocation_counter::measure(|| {
        counted = Some(runtime.block_on(async { desk.sum(second).await.unwrap() }));
    });
    assert_eq!(counted, Some(ITEMS * (ITEMS - 1) / 2));
    // A stream allocates, an item does not.
    assert!(measured.count_total < 100, "{}", measured.count_total);
}

#[test]
fn item_of_a_bidirectional_stream_allocates_nothing() {
    let (runtime, desk, _) = local();
    let asked = Cell::new(0);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let receive = stream::unfold(receive, async |mut receive| {
        Some((receive.recv().await?, receive))
    });
    let mut doubled = runtime.block_on(async { desk.doubled(receive) });
    let item = async || {
        send.send(asked.get()).await.unwrap();
        assert_eq!(doubled.next().await.unwrap().unwrap(), 2 * asked.get());
        asked.set(asked.get() + 1);
    };
    assert_eq!(allocations(&runtime, item), 0);
}
