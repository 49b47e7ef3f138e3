//! What holds of streams of items, in both directions.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rpc_runtime::{CallError, Fate, Limits, RpcError, ServerHandle, rpc};
use serde::{Deserialize, Serialize};
use support::{serve, soon};
use tokio::sync::mpsc;

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
    /// Prices from 0 up, `symbol` borrowed all along.
    fn ticks(&self, symbol: &str, count: u64) -> impl Stream<Item = Tick>;
    /// Fails behind so many.
    fn fails(&self, symbol: &str, after: u64) -> impl Stream<Item = Result<u64, FeedError>>;
    /// For ever.
    fn numbers(&self) -> impl Stream<Item = u64>;
    /// One, and then silence.
    fn one(&self) -> impl Stream<Item = u64>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Says after `enough` items what they were.
    async fn first(&self, enough: usize, items: impl Stream<Item = String>) -> Vec<String>;
    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String>;
    fn blob(&self, size: usize) -> impl Stream<Item = String>;
    async fn add(&self, a: u64, b: u64) -> u64;
}

#[derive(Clone, Default)]
struct Exchange {
    made: Arc<AtomicUsize>,
    dropped: Arc<tokio::sync::Notify>,
}

struct Dropped(Arc<tokio::sync::Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Exchange {
    /// Items, and the test hears when nobody wants more.
    fn watched<S: Stream>(&self, items: S) -> impl Stream<Item = S::Item> + use<S> {
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
        let _dropped = Dropped(Arc::clone(&self.dropped));
        items.fold(0, async |sum, item| sum + item).await
    }

    async fn first(&self, enough: usize, items: impl Stream<Item = String> + Send) -> Vec<String> {
        items.take(enough).collect().await
    }

    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String> {
        self.watched(items.map(move |item| format!("{prefix}{item}")))
    }

    fn blob(&self, size: usize) -> impl Stream<Item = String> {
        stream::iter(["x".repeat(size)])
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

async fn market(exchange: Exchange) -> (MarketClient, ServerHandle) {
    let (client, server) = serve(MarketServer::new(exchange), Limits::default()).await;
    (MarketClient::new(client), server)
}

#[tokio::test]
async fn items_come_in_their_order_and_then_the_end() {
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
async fn a_stream_of_nothing_ends() {
    let (market, _server) = market(Exchange::default()).await;
    let mut none = market.ticks("none", 0);
    assert!(soon(none.next()).await.is_none());
    assert!(soon(none.next()).await.is_none());
    assert_eq!(soon(market.sum(stream::empty())).await.unwrap(), 0);
}

#[tokio::test]
async fn an_error_comes_behind_the_items_before_it() {
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
async fn a_handler_reads_what_its_caller_sends() {
    let (market, _server) = market(Exchange::default()).await;
    assert_eq!(
        soon(market.sum(stream::iter(0..10_000))).await.unwrap(),
        49_995_000
    );
}

#[tokio::test]
async fn an_answer_may_come_before_the_last_item() {
    let (market, _server) = market(Exchange::default()).await;
    let endless = stream::iter(0..).map(|number: u64| number.to_string());
    assert_eq!(
        soon(market.first(3, endless)).await.unwrap(),
        ["0", "1", "2"]
    );
}

#[tokio::test]
async fn both_speak_in_turn() {
    let (market, _server) = market(Exchange::default()).await;
    let (send, receive) = mpsc::channel::<String>(1);
    let receive = stream::unfold(receive, async |mut receive| {
        Some((receive.recv().await?, receive))
    });
    let mut echo = market.echo("> ", receive);
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
async fn a_shutdown_lets_streams_end() {
    let (market, server) = market(Exchange::default()).await;
    let (send, receive) = mpsc::channel::<String>(1);
    let receive = stream::unfold(receive, async |mut receive| {
        Some((receive.recv().await?, receive))
    });
    let mut echo = market.echo("", receive);
    send.send("before".into()).await.unwrap();
    assert_eq!(soon(echo.next()).await.unwrap().unwrap(), "before");
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(20)).await });
    // Once calls are refused the server drains.
    while soon(market.add(1, 2)).await.is_ok() {}
    send.send("meanwhile".into()).await.unwrap();
    assert_eq!(soon(echo.next()).await.unwrap().unwrap(), "meanwhile");
    drop(send);
    assert!(soon(echo.next()).await.is_none());
    assert!(soon(shutdown).await.unwrap(), "all have ended");
}

#[tokio::test]
async fn a_shutdown_ends_streams_that_have_no_end() {
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
        match error {
            CallError::Connection { fate, reason } => {
                assert_eq!(fate, Fate::MayHaveExecuted);
                assert!(reason.to_string().contains("Stream ended"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(soon(endless.next()).await.is_none());
    assert!(!soon(shutdown).await.unwrap(), "they were cut short");
}
