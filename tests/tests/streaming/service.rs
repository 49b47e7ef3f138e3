//! A service whose handlers use streams of items in every way, correct and incorrect.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{ErrorObject, Limits, ServerHandle, code, rpc};
use tests::support::{TestServer, serve, soon, until_stable};
use tokio::sync::{Barrier, Notify};

#[rpc]
pub(crate) trait Desk {
    /// Sends 0, 1, 2 and so on, without end.
    fn numbers(&self) -> impl Stream<Item = u64>;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    /// Sends one item and then nothing.
    fn one(&self) -> impl Stream<Item = u64>;
    /// As `numbers`, and yields before each item.
    fn yielding(&self) -> impl Stream<Item = u64>;
    /// Sends items of 300,000 bytes, without end.
    fn large(&self) -> impl Stream<Item = String>;
    /// Panics after three items.
    fn panics(&self) -> impl Stream<Item = u64>;
    /// Sends items without end, and panics when it is dropped.
    fn panics_when_dropped(&self) -> impl Stream<Item = u64>;
    fn echo(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Returns the sum of the items once the test has opened the gate.
    async fn gated_sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Returns the sum of the items, taken within a `FuturesUnordered`, which polls with its own wakers.
    async fn unordered(&self, items: impl Stream<Item = u64>) -> u64;
    /// Returns the first item, and takes no other item.
    async fn first(&self, items: impl Stream<Item = u64>) -> u64;
    /// As `first`, and forgets the stream without dropping it.
    async fn forget(&self, items: impl Stream<Item = u64>) -> u64;
    /// Returns the sum of the items, and polls the stream after its end.
    async fn past_end(&self, items: impl Stream<Item = u64>) -> u64;
    /// Polls for an item once, waits until the test has opened the gate, and takes an item.
    async fn busy(&self, items: impl Stream<Item = u64>) -> Option<u64>;
    /// Takes no item and does not return.
    async fn ignore(&self, items: impl Stream<Item = u64>);
    /// Takes an item, drops the stream and does not return.
    async fn drop_items(&self, items: impl Stream<Item = u64>);
    /// Waits for an item until the test has opened the gate.
    async fn item_or_gate(&self, items: impl Stream<Item = u64>) -> Option<u64>;
    /// Drops each item.
    async fn discard(&self, items: impl Stream<Item = String>);
    /// Fails with the code that ends a stream.
    async fn fails_as_ended(&self) -> Result<u64, ErrorObject>;
    async fn blob(&self, size: usize) -> String;
    async fn add(&self, a: u64, b: u64) -> u64;
    /// Yields some times before it returns.
    async fn pause(&self, turns: u32) -> u32;
    /// Waits until eight calls are in it.
    async fn meet(&self) -> bool;
}

#[derive(Clone)]
pub(crate) struct Clerk {
    /// Notified when a handler has started that waits for items or for the gate.
    pub(crate) started: Arc<Notify>,
    pub(crate) gate: Arc<Notify>,
    /// Notified when a handler has ended that waited for the gate.
    pub(crate) ended: Arc<Notify>,
    /// The number of items that handlers have taken.
    pub(crate) taken: Arc<AtomicUsize>,
    /// The number of items that handlers have made.
    pub(crate) made: Arc<AtomicUsize>,
    eight: Arc<Barrier>,
}

impl Default for Clerk {
    fn default() -> Self {
        Self {
            started: Arc::default(),
            gate: Arc::default(),
            ended: Arc::default(),
            taken: Arc::default(),
            made: Arc::default(),
            eight: Arc::new(Barrier::new(8)),
        }
    }
}

impl Clerk {
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    fn has_taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn counted<S: Stream>(&self, items: S) -> impl Stream<Item = S::Item> + use<S> {
        self.started.notify_one();
        let made = Arc::clone(&self.made);
        items.inspect(move |_| {
            made.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Endless items whose stream panics when it is dropped.
struct PanicsWhenDropped;

impl Stream for PanicsWhenDropped {
    type Item = u64;

    fn poll_next(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<u64>> {
        Poll::Ready(Some(1))
    }
}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("on purpose, in drop")
    }
}

impl Desk for Clerk {
    fn numbers(&self) -> impl Stream<Item = u64> {
        self.counted(stream::iter(0..))
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(0..to)
    }

    fn one(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::pending())
    }

    fn yielding(&self) -> impl Stream<Item = u64> {
        self.counted(stream::iter(0..).then(async |number| {
            tokio::task::yield_now().await;
            number
        }))
    }

    fn large(&self) -> impl Stream<Item = String> {
        stream::iter(0..).map(|_| "x".repeat(300_000))
    }

    fn panics(&self) -> impl Stream<Item = u64> {
        stream::iter(0..).map(|number| match number {
            3 => panic!("on purpose"),
            number => number,
        })
    }

    fn panics_when_dropped(&self) -> impl Stream<Item = u64> {
        PanicsWhenDropped
    }

    fn echo(&self, items: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        items
    }

    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.started.notify_one();
        let mut items = pin!(items);
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item;
            self.has_taken();
        }
        sum
    }

    async fn gated_sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.gate.notified().await;
        self.sum(pin!(items)).await
    }

    async fn unordered(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut all = FuturesUnordered::new();
        all.push(Box::pin(items.fold(0, async |sum, item| sum + item)));
        all.next().await.unwrap()
    }

    async fn first(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = pin!(items);
        items.next().await.unwrap()
    }

    async fn forget(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = Box::pin(items);
        let first = items.next().await;
        std::mem::forget(items);
        // More items arrive meanwhile.
        self.pause(100).await;
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
            self.pause(10).await;
        }
        sum
    }

    async fn busy(&self, items: impl Stream<Item = u64> + Send) -> Option<u64> {
        let mut items = pin!(items);
        assert!(futures_util::poll!(items.next()).is_pending());
        self.started.notify_one();
        self.gate.notified().await;
        items.next().await
    }

    async fn ignore(&self, items: impl Stream<Item = u64> + Send) {
        let _items = items;
        std::future::pending().await
    }

    async fn drop_items(&self, items: impl Stream<Item = u64> + Send) {
        self.first(pin!(items)).await;
        std::future::pending().await
    }

    async fn item_or_gate(&self, items: impl Stream<Item = u64> + Send) -> Option<u64> {
        let mut items = pin!(items);
        self.started.notify_one();
        let item = tokio::select! {
            item = items.next() => item,
            () = self.gate.notified() => None,
        };
        self.ended.notify_one();
        item
    }

    async fn discard(&self, items: impl Stream<Item = String> + Send) {
        let mut items = pin!(items);
        while items.next().await.is_some() {
            self.has_taken();
        }
    }

    async fn fails_as_ended(&self) -> Result<u64, ErrorObject> {
        Err(ErrorObject::new(code::STREAM_ENDED, "Stream ended"))
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }

    async fn pause(&self, turns: u32) -> u32 {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        turns
    }

    async fn meet(&self) -> bool {
        self.eight.wait().await;
        true
    }
}

/// Starts a server with a client.
pub(crate) async fn desk(limits: Limits) -> (DeskClient, Clerk, ServerHandle) {
    let clerk = Clerk::default();
    let (client, server) = serve(DeskServer::new(clerk.clone()), limits).await;
    (DeskClient::new(client), clerk, server)
}

/// Starts a server.
pub(crate) fn server(limits: Limits) -> (TestServer, Clerk) {
    let clerk = Clerk::default();
    let server = TestServer::start(DeskServer::new(clerk.clone()), limits);
    (server, clerk)
}

/// Makes a call and checks its result.
pub(crate) async fn is_served(desk: &DeskClient) {
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

/// Waits until `count` no longer changes although the tasks that change it may run.
pub(crate) async fn until_stalled(desk: &DeskClient, count: impl Fn() -> usize) {
    until_stable(count, async || is_served(desk).await).await;
}
