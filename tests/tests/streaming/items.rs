//! Streams of items in both directions, from the view of callers and handlers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
use rpc_runtime::{
    CallError, Client, Context, Limits, RpcError, ServerHandle, Streaming, code, rpc,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tests::support::{DEADLINE, TestServer, serve, soon, until_stable};
use tokio::sync::{Notify, Semaphore, mpsc};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tick {
    symbol: String,
    price: u64,
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum FeedError {
    #[error("{symbol} is not traded any more")]
    #[rpc(code = 1)]
    Delisted { symbol: String },
}

#[rpc]
trait Market {
    /// Sends prices from 0, and borrows `symbol` until the end.
    fn ticks(&self, symbol: &str, count: u64) -> impl Stream<Item = Tick>;
    /// Fails after this number of items.
    fn fails(&self, symbol: &str, after: u64) -> impl Stream<Item = Result<u64, FeedError>>;
    /// Sends items without end.
    fn numbers(&self) -> impl Stream<Item = u64>;
    /// Sends one item and then nothing.
    fn one(&self) -> impl Stream<Item = u64>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Returns the first `enough` items.
    async fn first(&self, enough: usize, items: impl Stream<Item = String>) -> Vec<String>;
    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String>;
    fn blobs(&self, sizes: Vec<usize>) -> impl Stream<Item = String>;
    /// Sends the length of each item.
    fn lengths(&self, items: impl Stream<Item = String>) -> impl Stream<Item = usize>;
    /// Reads nothing until the test adds a permit.
    async fn hold(&self, items: impl Stream<Item = u64>) -> u64;
    /// Panics after this number of items.
    fn panics(&self, after: u64) -> impl Stream<Item = u64>;
    /// Sends an item that cannot be encoded, after this number of other items.
    fn unwritable(&self, after: u64) -> impl Stream<Item = BTreeMap<Pair, u8>>;
    /// Sends JSON with line feeds.
    fn raw(&self, items: impl Stream<Item = Value>) -> impl Stream<Item = Box<RawValue>>;
    async fn add(&self, a: u64, b: u64) -> u64;
}

/// A type that cannot be a key of an object.
type Pair = (u8, u8);

#[derive(Clone)]
struct Exchange {
    made: Arc<AtomicUsize>,
    started: Arc<Notify>,
    dropped: Arc<Notify>,
    gate: Arc<Semaphore>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            made: Arc::default(),
            started: Arc::default(),
            dropped: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        }
    }
}

struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Exchange {
    /// Reports to the test when the stream is dropped.
    fn watched<S: Stream>(&self, items: S) -> impl Stream<Item = S::Item> + use<S> {
        self.started.notify_one();
        let dropped = Dropped(Arc::clone(&self.dropped));
        items.inspect(move |_| {
            let _ = &dropped;
        })
    }
}

impl Market for Exchange {
    fn ticks(&self, symbol: &str, count: u64) -> impl Stream<Item = Tick> {
        stream::iter(0..count).map(move |price| Tick {
            symbol: symbol.to_owned(),
            price,
        })
    }

    fn fails(&self, symbol: &str, after: u64) -> impl Stream<Item = Result<u64, FeedError>> {
        let failure = Err(FeedError::Delisted {
            symbol: symbol.to_owned(),
        });
        stream::iter(0..after)
            .map(Ok)
            .chain(stream::iter([failure, Ok(0)]))
    }

    fn numbers(&self) -> impl Stream<Item = u64> {
        let made = Arc::clone(&self.made);
        self.watched(stream::iter(0..).inspect(move |_| {
            made.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn one(&self) -> impl Stream<Item = u64> {
        self.watched(stream::iter([1]).chain(stream::pending()))
    }

    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.started.notify_one();
        let _dropped = Dropped(Arc::clone(&self.dropped));
        items.fold(0, async |sum, item| sum + item).await
    }

    async fn first(&self, enough: usize, items: impl Stream<Item = String> + Send) -> Vec<String> {
        items.take(enough).collect().await
    }

    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String> {
        self.watched(items.map(move |item| format!("{prefix}{item}")))
    }

    fn blobs(&self, sizes: Vec<usize>) -> impl Stream<Item = String> {
        stream::iter(sizes).map(|size| "x".repeat(size))
    }

    fn lengths(&self, items: impl Stream<Item = String>) -> impl Stream<Item = usize> {
        items.map(|item| item.len())
    }

    async fn hold(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.gate.acquire().await.unwrap().forget();
        items.fold(0, async |sum, item| sum + item).await
    }

    fn panics(&self, after: u64) -> impl Stream<Item = u64> {
        stream::iter(0..=after).then(move |number| async move {
            // Lets the items before this one be sent.
            tokio::task::yield_now().await;
            assert!(number < after, "on purpose");
            number
        })
    }

    fn unwritable(&self, after: u64) -> impl Stream<Item = BTreeMap<Pair, u8>> {
        let fine = stream::iter(0..after).map(|_| BTreeMap::new());
        fine.chain(stream::iter([BTreeMap::from([((1, 2), 3)])]))
    }

    fn raw(&self, items: impl Stream<Item = Value>) -> impl Stream<Item = Box<RawValue>> {
        items.map(|item| {
            assert_eq!(item, meant());
            lines()
        })
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

/// Returns a channel whose receiver is a stream of items.
fn channel<T: Send + 'static>() -> (mpsc::Sender<T>, impl Stream<Item = T> + Send + 'static) {
    let (send, receive) = mpsc::channel(1);
    let items = stream::unfold(receive, async |mut receive| {
        Some((receive.recv().await?, receive))
    });
    (send, items)
}

async fn market(exchange: Exchange) -> (MarketClient, ServerHandle) {
    let (client, server) = serve(MarketServer::new(exchange), Limits::default()).await;
    (MarketClient::new(client), server)
}

#[tokio::test]
async fn items_arrive_in_order_before_the_end() {
    let (market, _server) = market(Exchange::default()).await;
    let ticks: Vec<_> = soon(market.ticks("ÖBB \"A\"", 1000).try_collect::<Vec<_>>())
        .await
        .unwrap();
    let expected = (0..1000).map(|price| Tick {
        symbol: "ÖBB \"A\"".into(),
        price,
    });
    assert!(ticks.into_iter().eq(expected));
}

#[tokio::test]
async fn empty_stream_ends() {
    let (market, _server) = market(Exchange::default()).await;
    let mut none = market.ticks("none", 0);
    assert!(soon(none.next()).await.is_none());
    assert!(soon(none.next()).await.is_none());
    assert_eq!(soon(market.sum(stream::empty())).await.unwrap(), 0);
}

#[tokio::test]
async fn error_arrives_after_the_items_before_it() {
    let (market, _server) = market(Exchange::default()).await;
    let mut items = market.fails("ACME", 2);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    match soon(items.next()).await {
        Some(Err(CallError::Application(FeedError::Delisted { symbol }))) => {
            assert_eq!(symbol, "ACME")
        }
        other => panic!("{other:?}"),
    }
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn handler_receives_the_items_of_its_caller() {
    let (market, _server) = market(Exchange::default()).await;
    assert_eq!(
        soon(market.sum(stream::iter(0..10_000))).await.unwrap(),
        49_995_000
    );
}

#[tokio::test]
async fn response_before_the_last_item_ends_the_call() {
    let (market, _server) = market(Exchange::default()).await;
    let endless = stream::iter(0..).map(|number: u64| number.to_string());
    assert_eq!(
        soon(market.first(3, endless)).await.unwrap(),
        ["0", "1", "2"]
    );
}

#[tokio::test]
async fn bidirectional_stream_alternates_items() {
    let (market, _server) = market(Exchange::default()).await;
    let (send, items) = channel::<String>();
    let mut echo = market.echo("> ", items);
    for turn in 0..100 {
        send.send(turn.to_string()).await.unwrap();
        assert_eq!(
            soon(echo.next()).await.unwrap().unwrap(),
            format!("> {turn}")
        );
    }
    drop(send);
    assert!(soon(echo.next()).await.is_none());
}

#[tokio::test]
async fn shutdown_waits_for_streams_that_end() {
    let (market, server) = market(Exchange::default()).await;
    let (send, receive) = mpsc::channel::<String>(1);
    let receive = stream::unfold(receive, async |mut receive| {
        Some((receive.recv().await?, receive))
    });
    let mut echo = market.echo("", receive);
    send.send("before".into()).await.unwrap();
    assert_eq!(soon(echo.next()).await.unwrap().unwrap(), "before");
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(20)).await });
    // The server drains once it rejects calls.
    while soon(market.add(1, 2)).await.is_ok() {}
    send.send("meanwhile".into()).await.unwrap();
    assert_eq!(soon(echo.next()).await.unwrap().unwrap(), "meanwhile");
    drop(send);
    assert!(soon(echo.next()).await.is_none());
    assert!(soon(shutdown).await.unwrap(), "all have ended");
}

#[tokio::test]
async fn shutdown_ends_endless_streams_with_stream_ended() {
    let (market, server) = market(Exchange::default()).await;
    let mut silent = market.one();
    assert_eq!(soon(silent.next()).await.unwrap().unwrap(), 1);
    let mut endless = market.numbers();
    for number in 0..10 {
        assert_eq!(soon(endless.next()).await.unwrap().unwrap(), number);
    }
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_millis(10)).await });
    let mut next = 10;
    let error = loop {
        match soon(endless.next()).await.unwrap() {
            Ok(number) => assert_eq!(number, next),
            Err(error) => break error,
        }
        next += 1;
    };
    for error in [error, soon(silent.next()).await.unwrap().unwrap_err()] {
        assert!(matches!(error, CallError::StreamEnded), "{error:?}");
    }
    assert!(soon(endless.next()).await.is_none());
    assert!(!soon(shutdown).await.unwrap(), "the streams have no end");
}

#[tokio::test]
async fn local_client_streams_as_a_remote_one() {
    let exchange = Exchange::default();
    let market = MarketClient::new(Client::local(MarketServer::new(exchange.clone())));
    let ticks = soon(market.ticks("A", 1000).try_collect::<Vec<_>>()).await;
    assert_eq!(ticks.unwrap().len(), 1000);
    assert_eq!(
        soon(market.sum(stream::iter(0..1000))).await.unwrap(),
        499_500
    );
    let words = stream::iter(["a", "b"]).map(str::to_owned);
    let echo = soon(market.echo("> ", words).try_collect::<Vec<_>>()).await;
    assert_eq!(echo.unwrap(), ["> a", "> b"]);
    let mut one = market.one();
    assert_eq!(soon(one.next()).await.unwrap().unwrap(), 1);
    drop(one);
    soon(exchange.dropped.notified()).await;
    let mut numbers = market.numbers();
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    is_stable(&market, &exchange.made).await;
    assert!(exchange.made.load(Ordering::Relaxed) < WINDOW);
    assert!(matches!(
        soon(market.fails("A", 0).next()).await,
        Some(Err(CallError::Application(_)))
    ));
}

#[tokio::test]
async fn item_larger_than_the_client_accepts_is_an_error_that_names_the_limit() {
    let builder = Client::builder().max_response_bytes(1_000);
    let market = MarketClient::new(builder.local(MarketServer::new(Exchange::default())));
    let mut blobs = market.blobs(vec![10, 2_000, 1]);
    assert_eq!(soon(blobs.next()).await.unwrap().unwrap().len(), 10);
    let error = soon(blobs.next()).await.unwrap().unwrap_err().to_string();
    assert!(
        error.ends_with("or raise `ClientBuilder::max_response_bytes` (1000)"),
        "{error}"
    );
    assert!(soon(blobs.next()).await.is_none());
}

#[tokio::test]
async fn item_past_the_limit_ends_the_stream_with_an_error() {
    let (market, _server) = market(Exchange::default()).await;
    let sizes = [300_000, 1, 3 << 20, 0, 300_000];
    let blobs = soon(market.blobs(sizes.to_vec()).try_collect::<Vec<_>>()).await;
    assert!(blobs.unwrap().iter().map(String::len).eq(sizes));
    let mut blobs = market.blobs(vec![300_000, 4 << 20, 1]);
    assert_eq!(soon(blobs.next()).await.unwrap().unwrap().len(), 300_000);
    refused(soon(blobs.next()).await, code::REPLY_TOO_LARGE);
    assert!(soon(blobs.next()).await.is_none());

    let sizes = [300_000, 1, 900_000, 0];
    let items = stream::iter(sizes).map(|size| "x".repeat(size));
    let lengths = soon(market.lengths(items).try_collect::<Vec<_>>()).await;
    assert_eq!(lengths.unwrap(), sizes);
    let items = stream::iter([1, 1 << 20]).map(|size| "x".repeat(size));
    let mut lengths = market.lengths(items);
    assert_eq!(soon(lengths.next()).await.unwrap().unwrap(), 1);
    refused(soon(lengths.next()).await, code::REQUEST_TOO_LARGE);
    assert!(soon(lengths.next()).await.is_none());
}

#[track_caller]
fn refused<T: std::fmt::Debug, E: std::fmt::Debug>(
    item: Option<Result<T, CallError<E>>>,
    code: i64,
) {
    match item {
        Some(Err(CallError::Remote(error))) => assert_eq!(error.code(), code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn response_items_arrive_after_the_request_stream_has_ended() {
    let (market, _server) = market(Exchange::default()).await;
    // All items are sent at once. The responses are read one by one.
    let items = stream::iter(0..1000).map(|number| format!("{number}"));
    let mut lengths = market.lengths(items);
    for number in 0..1000 {
        let expected = number.to_string().len();
        assert_eq!(soon(lengths.next()).await.unwrap().unwrap(), expected);
        assert_eq!(market.add(number, 1).await.unwrap(), number + 1);
    }
    assert!(soon(lengths.next()).await.is_none());
}

#[tokio::test]
async fn dropped_response_stream_drops_the_stream_of_the_handler() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    // Dropped before the first item, which never arrives.
    let (_send, items) = channel::<String>();
    let mut echo = market.echo("", items);
    tokio::select! {
        item = echo.next() => panic!("{item:?}"),
        () = soon(exchange.started.notified()) => {}
    }
    drop(echo);
    soon(exchange.dropped.notified()).await;
    let (send, items) = channel::<String>();
    let mut other = market.echo("", items);
    send.send("a".into()).await.unwrap();
    assert_eq!(soon(other.next()).await.unwrap().unwrap(), "a");
    soon(exchange.started.notified()).await;
    drop(other);
    soon(exchange.dropped.notified()).await;
    // The items of the caller are dropped, too.
    soon(send.closed()).await;
    // Dropped after the first item, while there are no more, and while there are always more.
    for mut items in [market.one(), market.numbers()] {
        soon(items.next()).await.unwrap().unwrap();
        soon(exchange.started.notified()).await;
        drop(items);
        soon(exchange.dropped.notified()).await;
    }
    // Dropped while the handler waits for items.
    let (send, items) = channel::<u64>();
    let mut sum = market.sum(items);
    send.send(1).await.unwrap();
    tokio::select! {
        sum = &mut sum => panic!("{sum:?}"),
        () = soon(exchange.started.notified()) => {}
    }
    drop(sum);
    soon(exchange.dropped.notified()).await;
    soon(send.closed()).await;
}

#[tokio::test]
async fn stream_that_is_never_polled_is_never_called() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    drop(market.numbers());
    let (send, items) = channel::<String>();
    drop(market.echo("", items));
    soon(send.closed()).await;
    assert_eq!(soon(market.add(1, 2)).await.unwrap(), 3);
    assert_eq!(exchange.made.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn timeout_covers_a_stream_to_its_end() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    let mut one = market.one().timeout(DEADLINE);
    assert_eq!(soon(one.next()).await.unwrap().unwrap(), 1);
    assert!(matches!(
        soon(one.next()).await,
        Some(Err(CallError::Timeout))
    ));
    assert!(soon(one.next()).await.is_none());
    soon(exchange.dropped.notified()).await;
    // A stream that never pauses ends in time, too.
    let mut numbers = market.numbers().timeout(DEADLINE);
    let last = async {
        loop {
            match numbers.next().await.unwrap() {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        }
    };
    assert!(matches!(soon(last).await, CallError::Timeout));
    assert!(soon(numbers.next()).await.is_none());
    soon(exchange.dropped.notified()).await;
    let (_send, items) = channel::<u64>();
    let sum = market.sum(items).timeout(DEADLINE);
    assert!(matches!(soon(sum).await, Err(CallError::Timeout)));
    soon(exchange.dropped.notified()).await;
    let none = market.one().timeout(Duration::ZERO).next().await;
    assert!(matches!(none, Some(Err(CallError::Timeout))));
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Echoes two items, with a day between them.
async fn two_days(market: &MarketClient, options: impl Fn(Echoed) -> Echoed) -> Vec<EchoedItem> {
    let (send, items) = channel();
    let mut echoed = options(market.echo("", items));
    let mut received = Vec::new();
    for item in ["first", "second"] {
        tokio::time::sleep(DAY).await;
        let _ = send.send(item.to_owned()).await;
        received.extend(echoed.next().await);
    }
    received
}

type Echoed = Streaming<String>;
type EchoedItem = Result<String, CallError>;

#[tokio::test(start_paused = true)]
async fn stream_without_a_timeout_runs_for_days_while_calls_of_its_client_have_seconds() {
    let seconds = Duration::from_secs(5);
    let builder = Client::builder().timeout(seconds);
    let server = || MarketServer::new(Exchange::default());
    let plain = builder.clone().local(server());
    for client in [plain.clone(), plain.with_middleware(Pass)] {
        let market = MarketClient::new(client);
        for options in [
            (|echoed: Echoed| echoed.no_timeout()) as fn(_) -> _,
            |echoed| echoed.timeout(Duration::from_secs(1)).no_timeout(),
            |echoed| echoed.timeout(3 * DAY),
        ] {
            let received = two_days(&market, options).await;
            let received: Result<Vec<_>, _> = received.into_iter().collect();
            assert_eq!(received.unwrap(), ["first", "second"]);
        }
        let mut one = market.one();
        assert_eq!(one.next().await.unwrap().unwrap(), 1);
        assert!(matches!(one.next().await, Some(Err(CallError::Timeout))));

        let (send, items) = channel();
        let uploading = tokio::spawn(market.sum(items).no_timeout());
        tokio::time::sleep(DAY).await;
        send.send(7).await.unwrap();
        drop(send);
        assert_eq!(uploading.await.unwrap().unwrap(), 7);
        let (_send, items) = channel::<u64>();
        assert!(matches!(market.sum(items).await, Err(CallError::Timeout)));
    }
}

struct Pass;

impl ClientMiddleware for Pass {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        next.run(request).await
    }
}

#[tokio::test]
async fn handler_that_panics_between_items_is_an_internal_error() {
    let (market, _server) = market(Exchange::default()).await;
    let mut items = market.panics(2);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    refused(soon(items.next()).await, code::INTERNAL_ERROR);
    assert!(soon(items.next()).await.is_none());
}

#[tokio::test]
async fn request_stream_that_panics_is_not_taken_for_its_end() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    let items = || {
        stream::iter(0..=3).then(|number| async move {
            tokio::task::yield_now().await;
            assert!(number < 3, "on purpose");
            number
        })
    };
    let sum = tokio::spawn(market.sum(items()));
    assert!(soon(sum).await.unwrap_err().is_panic());
    soon(exchange.dropped.notified()).await;
    let words = items().map(|number| number.to_string());
    let echo = tokio::spawn(market.echo("", words).try_collect::<Vec<_>>());
    assert!(soon(echo).await.unwrap_err().is_panic());
    soon(exchange.dropped.notified()).await;
    assert_eq!(soon(market.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn item_that_cannot_be_encoded_ends_the_stream_with_an_error() {
    let (market, _server) = market(Exchange::default()).await;
    let mut items = market.unwritable(1);
    assert!(soon(items.next()).await.unwrap().unwrap().is_empty());
    refused(soon(items.next()).await, code::INTERNAL_ERROR);
    assert!(soon(items.next()).await.is_none());
    let unwritable = stream::iter([BTreeMap::from([((1, 2), 3)])]);
    let client = serve(MarketServer::new(Exchange::default()), Limits::default()).await;
    let sum = client
        .0
        .call::<u64, _>("sum", &())
        .upload(unwritable.clone());
    assert!(matches!(soon(sum).await, Err(CallError::Encode(_))));
    let mut echo = client
        .0
        .items::<String, _>("echo", &[""])
        .upload(unwritable);
    assert!(matches!(
        soon(echo.next()).await,
        Some(Err(CallError::Encode(_)))
    ));
    assert!(soon(echo.next()).await.is_none());
}

#[tokio::test]
async fn item_of_another_type_is_an_error_of_its_reader() {
    let (client, _server) = serve(MarketServer::new(Exchange::default()), Limits::default()).await;
    let wrong = client
        .call::<u64, _>("sum", &())
        .upload(stream::iter(["one"]));
    match soon(wrong).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::INVALID_PARAMS),
        other => panic!("{other:?}"),
    }
    let mut wrong = client.items::<u64, _>("ticks", &("A", 3));
    assert!(matches!(
        soon(wrong.next()).await,
        Some(Err(CallError::Decode(_)))
    ));
    assert!(soon(wrong.next()).await.is_none());
    // A method without a response stream returns a result, which does not end a stream.
    let unary = soon(client.items::<u64, _>("add", &(1, 2)).next()).await;
    assert!(!matches!(unary, Some(Ok(_))), "{unary:?}");
}

/// JSON whose lines would be messages if the line feeds were sent.
const LINES: &str = r#"[1,
{"jsonrpc":"2.0","method":"rpc.end","params":[0]}
,2]"#;

fn lines() -> Box<RawValue> {
    RawValue::from_string(LINES.to_owned()).unwrap()
}

fn meant() -> Value {
    serde_json::from_str(LINES).unwrap()
}

#[tokio::test]
async fn raw_json_with_newlines_is_sent_as_one_line() {
    let (client, _server) = serve(MarketServer::new(Exchange::default()), Limits::default()).await;
    let items = stream::iter([lines(), lines()]);
    let raw = client.items::<Value, _>("raw", &()).upload(items);
    let raw = soon(raw.try_collect::<Vec<_>>()).await.unwrap();
    assert_eq!(raw, [meant(), meant()]);
}

/// More items than the window and the buffers of one stream hold. An item has at least 55 bytes.
const WINDOW: usize = (1280 << 10) / 55;

/// Waits until no more items are made although the tasks that make them may run.
async fn is_stable(market: &MarketClient, made: &AtomicUsize) {
    let call = async || assert_eq!(market.add(1, 2).await.unwrap(), 3);
    until_stable(|| made.load(Ordering::Relaxed), call).await;
}

#[tokio::test]
async fn response_stream_is_polled_only_as_far_as_the_caller_reads() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    let mut numbers = market.numbers();
    assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
    is_stable(&market, &exchange.made).await;
    let made = exchange.made.load(Ordering::Relaxed);
    assert!(made < WINDOW, "{made} items were made");
    // Unread streams block neither calls nor each other, nor this stream.
    let mut unread: Vec<_> = (0..20).map(|_| market.numbers()).collect();
    for stream in &mut unread {
        assert_eq!(soon(stream.next()).await.unwrap().unwrap(), 0);
    }
    is_stable(&market, &exchange.made).await;
    for number in 0..1000 {
        assert_eq!(soon(market.add(number, 1)).await.unwrap(), number + 1);
    }
    for number in 1..50_000 {
        assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), number);
    }
    drop(unread);
    is_stable(&market, &exchange.made).await;
}

#[tokio::test]
async fn request_stream_is_polled_only_as_far_as_the_handler_reads() {
    let exchange = Exchange::default();
    let (market, _server) = market(exchange.clone()).await;
    let made = Arc::new(AtomicUsize::new(0));
    let endless = || {
        let made = Arc::clone(&made);
        stream::iter(0..).inspect(move |_| {
            made.fetch_add(1, Ordering::Relaxed);
        })
    };
    let held = tokio::spawn(market.hold(endless().take(50_000)));
    is_stable(&market, &made).await;
    let before = made.load(Ordering::Relaxed);
    assert!(0 < before && before < WINDOW, "{before} items were made");
    let mut unread = tokio::task::JoinSet::new();
    for _ in 0..20 {
        unread.spawn(market.hold(endless()));
    }
    is_stable(&market, &made).await;
    for number in 0..1000 {
        assert_eq!(soon(market.add(number, 1)).await.unwrap(), number + 1);
    }
    assert_eq!(
        soon(market.sum(stream::iter(0..1000))).await.unwrap(),
        499_500
    );
    // The first call gets the permit.
    exchange.gate.add_permits(1);
    assert_eq!(soon(held).await.unwrap().unwrap(), (0..50_000).sum::<u64>());
}

/// A service that calls another server.
#[rpc]
trait Relay {
    /// Sends the remaining time in milliseconds.
    fn remaining(&self, cx: &Context) -> impl Stream<Item = Option<u64>>;
    fn remaining_there(&self) -> impl Stream<Item = Option<u64>>;
}

struct Relaying(Option<RelayClient>);

impl Relay for Relaying {
    fn remaining(&self, cx: &Context) -> impl Stream<Item = Option<u64>> {
        let remaining = cx.remaining().map(|remaining| remaining.as_millis() as u64);
        stream::iter([remaining])
    }

    fn remaining_there(&self) -> impl Stream<Item = Option<u64>> {
        let there = self.0.as_ref().expect("there is one").remaining();
        there.map(|remaining| remaining.expect("an item"))
    }
}

#[tokio::test]
async fn stream_called_by_a_handler_inherits_its_deadline() {
    let (there, _server) = serve(RelayServer::new(Relaying(None)), Limits::default()).await;
    let relaying = Relaying(Some(RelayClient::new(there)));
    let (here, _other) = serve(RelayServer::new(relaying), Limits::default()).await;
    let relay = RelayClient::new(here);
    let limit = Duration::from_secs(15);
    let mut limited = relay.remaining_there().timeout(limit);
    let remaining = soon(limited.next()).await.unwrap().unwrap();
    assert!(remaining.is_some_and(|remaining| remaining <= limit.as_millis() as u64));
    let mut unlimited = relay.remaining_there();
    assert_eq!(soon(unlimited.next()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn stream_without_a_timeout_has_the_deadline_that_it_inherits_and_no_other() {
    /// Calls the other server without a timeout.
    struct Unlimited(RelayClient);
    impl Relay for Unlimited {
        fn remaining(&self, _: &Context) -> impl Stream<Item = Option<u64>> {
            stream::empty()
        }

        fn remaining_there(&self) -> impl Stream<Item = Option<u64>> {
            let there = self.0.remaining().no_timeout();
            there.map(|remaining| remaining.expect("an item"))
        }
    }
    let limit = Duration::from_secs(15);
    let there = TestServer::start(RelayServer::new(Relaying(None)), Limits::default());
    let client = there.client().timeout(limit).connect(there.address);
    let relay = RelayClient::new(soon(client).await.unwrap());
    let remaining = async |mut stream: Streaming<Option<u64>>| {
        soon(stream.next())
            .await
            .unwrap()
            .unwrap()
            .map(Duration::from_millis)
    };
    assert!(
        remaining(relay.remaining())
            .await
            .is_some_and(|left| left <= limit)
    );
    assert_eq!(remaining(relay.remaining().no_timeout()).await, None);

    let here = Client::builder().local(RelayServer::new(Unlimited(relay)));
    let relay = RelayClient::new(here);
    let inherited = remaining(relay.remaining_there().timeout(limit)).await;
    assert!(inherited.is_some_and(|left| left <= limit));
    assert_eq!(remaining(relay.remaining_there()).await, None);
}
