//! Broadcasts one source of items to many subscribers, each with its own queue and lag policy.
//!
//! tokio's `broadcast` has one ring for all subscribers, so it can only drop the oldest item. `async-broadcast` can
//! wait, but for all subscribers or for none. `watch` holds only the newest item. With a [`Broadcast`] each subscriber
//! chooses its policy.

#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures_core::Stream;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::error::{DataWriter, ErrorData, ErrorObject, RpcError};
use crate::codec::params::decode::arg;
use crate::sync::{self, Mutex, MutexGuard};
use crate::waker::{WakerSlot, wake_all};

/// A source of items for many subscribers, each of which receives all items in the same order. Cheap to clone.
///
/// A subscription is a `Stream` that a handler can return unchanged. It receives the items that are sent after it was
/// created. [`send`](Self::send) is for asynchronous code; blocking handlers and plain threads use
/// [`blocking_send`](Self::blocking_send).
///
/// ```
/// use futures_util::{Stream, TryStreamExt};
/// use rpc_runtime::{CallError, Client, Broadcast, rpc};
///
/// #[rpc]
/// trait Weather {
///     fn temperatures(&self) -> impl Stream<Item = f64>;
/// }
///
/// struct Station {
///     celsius: Broadcast<f64>,
/// }
///
/// impl Weather for Station {
///     fn temperatures(&self) -> impl Stream<Item = f64> {
///         self.celsius.subscribe_dropping_oldest(16)
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), CallError> {
/// let celsius = Broadcast::new();
/// let station = Station { celsius: celsius.clone() };
/// let weather = WeatherClient::new(Client::local(WeatherServer::new(station)));
/// let mut temperatures = weather.temperatures();
/// # let sender = tokio::spawn(async move {
/// # loop {
/// celsius.send(21.5).await;
/// # tokio::task::yield_now().await;
/// # }
/// # });
/// assert_eq!(temperatures.try_next().await?, Some(21.5));
/// # sender.abort();
/// # Ok(())
/// # }
/// ```
///
/// # Lag
/// A slow remote caller stops taking items from its subscription once the flow control window of its stream is full.
/// Each subscriber chooses a lag policy, which decides what happens when `capacity` items are queued for it:
///
/// | policy | when the queue is full |
/// |---|---|
/// | [`subscribe_waiting`](Self::subscribe_waiting) | [`send`](Self::send) waits |
/// | [`subscribe_dropping_oldest`](Self::subscribe_dropping_oldest) | the oldest item is dropped; [`missed`](Subscription::missed) counts it |
/// | [`subscribe_or_end`](Self::subscribe_or_end) | the subscription ends with [`Lagged`], after the queued items |
///
/// An item reaches all subscribers before its `send` waits for one of them.
///
/// # Only the latest item
/// A subscriber of state, such as a price or a position, needs the latest item and may miss those before it. A
/// [`watch`](tokio::sync::watch) channel on each end keeps only that item:
///
/// - The handler returns the values of a `watch` receiver. The subscriber receives the present value at once, and then each
///   value that is the latest when it is sent. The sender never waits.
/// - The caller takes items as they arrive and keeps the last. Otherwise old items fill the flow control window of the stream,
///   and a slow caller takes them first, whatever the lag policy.
///
/// ```
/// use futures_util::{Stream, StreamExt, stream};
/// use rpc_runtime::{Client, rpc};
/// use tokio::sync::watch;
///
/// #[rpc]
/// trait Market {
///     /// The price, and each new price.
///     fn price(&self) -> impl Stream<Item = u64>;
/// }
///
/// struct Exchange {
///     price: watch::Sender<u64>,
/// }
///
/// impl Market for Exchange {
///     fn price(&self) -> impl Stream<Item = u64> {
///         let mut price = self.price.subscribe();
///         // The present price counts as a new one.
///         price.mark_changed();
///         stream::unfold(price, async |mut price| {
///             price.changed().await.ok()?;
///             let latest = *price.borrow_and_update();
///             Some((latest, price))
///         })
///     }
/// }
///
/// /// Keeps the latest item of a stream, until the stream ends or no receiver is left.
/// fn latest<T, E>(items: impl Stream<Item = Result<T, E>> + Send + 'static) -> watch::Receiver<Option<T>>
/// where
///     T: Send + Sync + 'static,
///     E: std::fmt::Display + Send,
/// {
///     let (sender, receiver) = watch::channel(None);
///     tokio::spawn(async move {
///         let mut items = std::pin::pin!(items);
///         loop {
///             let item = tokio::select! {
///                 item = items.next() => item,
///                 () = sender.closed() => break,
///             };
///             match item {
///                 Some(Ok(item)) => sender.send_replace(Some(item)),
///                 Some(Err(error)) => break eprintln!("the prices ended: {error}"),
///                 None => break,
///             };
///         }
///     });
///     receiver
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (price, _) = watch::channel(1);
/// let market = MarketClient::new(Client::local(MarketServer::new(Exchange { price: price.clone() })));
/// let mut latest = latest(market.price());
/// assert_eq!(*latest.wait_for(Option::is_some).await.unwrap(), Some(1));
/// for cents in 2..=1_000 {
///     price.send_replace(cents);
/// }
/// // The subscriber was busy meanwhile, and sees only the last price.
/// assert_eq!(*latest.wait_for(|price| *price > Some(1)).await.unwrap(), Some(1_000));
/// # }
/// ```
///
/// # End
/// Subscriptions end after their queued items when the last clone of the broadcast is dropped, or with
/// [`close`](Self::close). Close the broadcasts of a server that shuts down, so that the streams of its callers end.
///
/// # Cost
/// A queue grows up to `capacity` as needed. After that, an item allocates only what its `clone` allocates; the last
/// subscriber receives the item itself. Items are cloned under the broadcast's lock, so put large ones into an `Arc`.
pub struct Broadcast<T>(Arc<BroadcastInner<T>>);

/// Ends the subscriptions when dropped.
struct BroadcastInner<T> {
    shared: Arc<SharedQueues<T>>,
    /// Orders the senders: one at a time delivers and uses the locked data.
    sending: tokio::sync::Mutex<Deferred<T>>,
}

/// The work that a delivery must do after it has released the lock. Kept for the next delivery, to reuse its
/// allocations.
struct Deferred<T> {
    wakers: Vec<Waker>,
    dropped: Vec<T>,
}

struct SharedQueues<T>(Mutex<QueuesState<T>>);

struct QueuesState<T> {
    queues: BTreeMap<u64, Queue<T>>,
    next_id: u64,
    is_closed: bool,
    /// The sender that waits for room; all other senders wait for it.
    sender: WakerSlot,
}

struct Queue<T> {
    items: VecDeque<T>,
    capacity: usize,
    policy: Policy,
    /// The number of items that were dropped to make room.
    dropped: u64,
    has_lagged: bool,
    waker: WakerSlot,
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Wait,
    DropOldest,
    End,
}

impl<T> Broadcast<T> {
    /// Creates a broadcast without subscribers.
    pub fn new() -> Self {
        let state = QueuesState {
            queues: BTreeMap::new(),
            next_id: 0,
            is_closed: false,
            sender: WakerSlot::default(),
        };
        let deferred = Deferred {
            wakers: Vec::new(),
            dropped: Vec::new(),
        };
        Self(Arc::new(BroadcastInner {
            shared: Arc::new(SharedQueues(Mutex::new(state))),
            sending: tokio::sync::Mutex::new(deferred),
        }))
    }

    /// Subscribes without losing items: [`send`](Self::send) waits while more than `capacity` items are queued for this
    /// subscriber.
    ///
    /// A subscriber that takes no items blocks the sender until the subscription is dropped.
    ///
    /// # Panics
    /// Panics if `capacity` is 0.
    pub fn subscribe_waiting(&self, capacity: usize) -> Subscription<T> {
        self.subscribe(capacity, Policy::Wait)
    }

    /// Subscribes to the newest items: when `capacity` items are queued, the next item replaces the oldest.
    ///
    /// [`Subscription::missed`] returns the number of dropped items. A handler can send it along with each item:
    ///
    /// ```
    /// use futures_util::{Stream, StreamExt, stream};
    /// use rpc_runtime::{Broadcast, rpc};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Price {
    ///     cents: u64,
    ///     /// Prices that this caller was too slow for.
    ///     missed: u64,
    /// }
    ///
    /// #[rpc]
    /// trait Market {
    ///     fn prices(&self) -> impl Stream<Item = Price>;
    /// }
    ///
    /// struct Exchange {
    ///     cents: Broadcast<u64>,
    /// }
    ///
    /// impl Market for Exchange {
    ///     fn prices(&self) -> impl Stream<Item = Price> {
    ///         let prices = self.cents.subscribe_dropping_oldest(64);
    ///         stream::unfold(prices, async |mut prices| {
    ///             let cents = prices.next().await?;
    ///             Some((Price { cents, missed: prices.missed() }, prices))
    ///         })
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    /// Panics if `capacity` is 0.
    pub fn subscribe_dropping_oldest(&self, capacity: usize) -> Subscription<T> {
        self.subscribe(capacity, Policy::DropOldest)
    }

    /// Subscribes until the subscriber lags: when `capacity` items are queued and one more is sent, the subscription
    /// ends with [`Lagged`] after the queued items.
    ///
    /// `E` is `Lagged` itself or a method's own error that contains it:
    ///
    /// ```
    /// use futures_util::Stream;
    /// use rpc_runtime::broadcast::Lagged;
    /// use rpc_runtime::{Broadcast, RpcError, rpc};
    ///
    /// #[derive(Debug, thiserror::Error, RpcError)]
    /// enum MarketError {
    ///     #[error("closed")]
    ///     #[rpc(code = 1)]
    ///     Closed,
    ///     #[error(transparent)]
    ///     #[rpc(code = 2)]
    ///     Lagged(#[from] Lagged),
    /// }
    ///
    /// #[rpc]
    /// trait Market {
    ///     fn orders(&self) -> impl Stream<Item = Result<u64, MarketError>>;
    /// }
    ///
    /// struct Exchange {
    ///     orders: Broadcast<u64>,
    /// }
    ///
    /// impl Market for Exchange {
    ///     fn orders(&self) -> impl Stream<Item = Result<u64, MarketError>> {
    ///         self.orders.subscribe_or_end(64)
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    /// Panics if `capacity` is 0.
    pub fn subscribe_or_end<E: From<Lagged>>(
        &self,
        capacity: usize,
    ) -> impl Stream<Item = Result<T, E>> + use<T, E> {
        let mut items = self.subscribe(capacity, Policy::End);
        stream::poll_fn(move |cx| {
            let item = items.poll_item(cx);
            item.map(|item| item.map(|item| item.map_err(E::from)))
        })
    }

    fn subscribe(&self, capacity: usize, policy: Policy) -> Subscription<T> {
        assert!(capacity > 0, "a subscriber needs room for an item");
        let shared = Arc::clone(&self.0.shared);
        let queue = Queue {
            items: VecDeque::new(),
            capacity,
            policy,
            dropped: 0,
            has_lagged: false,
            waker: WakerSlot::default(),
        };
        let id = shared.state().subscribe(queue);
        Subscription {
            shared,
            id,
            missed: 0,
        }
    }

    /// Ends all subscriptions after their queued items. Later subscriptions end at once, and later items are dropped.
    pub fn close(&self) {
        self.0.shared.close();
    }
}

impl<T: Clone> Broadcast<T> {
    /// Sends `item` to all subscribers, then waits while a [waiting](Self::subscribe_waiting) subscriber has more than
    /// its capacity queued.
    ///
    /// Senders wait for each other, in the order of their calls.
    ///
    /// Cancel safe: the item reaches all subscribers or none. If the future is dropped while it waits for a slow
    /// subscriber, the next sender waits for that subscriber first.
    pub async fn send(&self, item: T) {
        let mut deferred = self.0.sending.lock().await;
        self.0.shared.has_room().await;
        self.0.shared.deliver(item, &mut deferred);
        self.0.shared.has_room().await;
    }

    /// Sends `item` as [`send`](Self::send) does, from a blocking handler or from a thread without a runtime. Blocks the thread
    /// while `send` would wait. It takes its turn among all senders.
    ///
    /// ```
    /// use futures_util::{Stream, StreamExt};
    /// use rpc_runtime::{Broadcast, Client, rpc};
    ///
    /// #[rpc]
    /// trait Journal {
    ///     #[rpc(blocking)]
    ///     fn append(&self, line: &str);
    ///     fn lines(&self) -> impl Stream<Item = String>;
    /// }
    ///
    /// struct File {
    ///     lines: Broadcast<String>,
    /// }
    ///
    /// impl Journal for File {
    ///     fn append(&self, line: &str) {
    ///         // A real one writes to the disk, too.
    ///         self.lines.blocking_send(line.to_owned());
    ///     }
    ///
    ///     fn lines(&self) -> impl Stream<Item = String> {
    ///         self.lines.subscribe_dropping_oldest(16)
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let lines = Broadcast::new();
    /// let mut subscribed = lines.subscribe_waiting(1);
    /// let journal = JournalClient::new(Client::local(JournalServer::new(File { lines: lines.clone() })));
    /// journal.append("first").await.unwrap();
    /// assert_eq!(subscribed.next().await.unwrap(), "first");
    ///
    /// // From a plain thread.
    /// std::thread::spawn(move || lines.blocking_send("second".into()));
    /// assert_eq!(subscribed.next().await.unwrap(), "second");
    /// # }
    /// ```
    ///
    /// # Panics
    /// Panics in an asynchronous context, such as an `async` handler: its thread has to run other tasks.
    pub fn blocking_send(&self, item: T) {
        let mut deferred = self.0.sending.blocking_lock();
        block_on(self.0.shared.has_room());
        self.0.shared.deliver(item, &mut deferred);
        block_on(self.0.shared.has_room());
    }
}

/// Unparks a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static UNPARK: Waker = Arc::new(Unpark(thread::current())).into();
}

/// Polls a future until it is ready, and parks the thread meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    UNPARK.with(|waker| {
        let mut cx = Context::from_waker(waker);
        loop {
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    })
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Broadcast<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subscribers = self.0.shared.state().queues.len();
        f.debug_struct("Broadcast")
            .field("subscribers", &subscribers)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for BroadcastInner<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The items of a [`Broadcast`], in order. Dropping it ends the subscription.
///
/// Cancel safe: dropping the future of `next` loses no item.
#[must_use = "items wait until the subscription is polled or dropped"]
pub struct Subscription<T> {
    shared: Arc<SharedQueues<T>>,
    id: u64,
    missed: u64,
}

impl<T> Subscription<T> {
    /// Returns the number of items dropped from the queue between the creation of the subscription and the last
    /// returned item.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns the next item, `None` after the last, or `Lagged` if the queue was full.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Lagged>>> {
        let mut state = self.shared.state();
        let QueuesState {
            queues,
            sender,
            is_closed,
            ..
        } = &mut *state;
        let Some(queue) = queues.get_mut(&self.id) else {
            return Poll::Ready(None);
        };
        if let Some(item) = queue.items.pop_front() {
            self.missed = queue.dropped;
            let sender = queue.is_at_capacity().then(|| sender.take()).flatten();
            drop(state);
            wake_all(sender);
            return Poll::Ready(Some(Ok(item)));
        }
        if queue.has_lagged {
            let capacity = queue.capacity;
            let ended = queues.remove(&self.id);
            drop(state);
            drop(ended);
            return Poll::Ready(Some(Err(Lagged { capacity })));
        }
        if *is_closed {
            return Poll::Ready(None);
        }
        let replaced = queue.waker.register(cx);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let item = self.get_mut().poll_item(cx);
        // Only a subscription of `subscribe_or_end` lags, and it does not use this implementation.
        item.map(|item| item.and_then(Result::ok))
    }
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let queue = state.queues.remove(&self.id);
        let sender = state.sender.take();
        drop(state);
        drop(queue);
        wake_all(sender);
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// The error of a subscriber of a [`Broadcast`] that was too slow: `capacity` items were queued for it when one more
/// was sent.
///
/// The subscriber has received everything that was sent before. As a method's error its code is −31000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("more than {capacity} items waited to be taken")]
#[non_exhaustive]
pub struct Lagged {
    /// The number of items that may be queued.
    pub capacity: usize,
}

const LAGGED: i64 = -31_000;

impl RpcError for Lagged {
    fn code(&self) -> i64 {
        LAGGED
    }

    fn write_data(&self, data: DataWriter<'_>) {
        let capacity = arg::<usize>("capacity").send(&self.capacity);
        data.object().field(capacity).end();
    }

    fn read(code: i64, _: &str, data: ErrorData<'_, '_>) -> Option<Self> {
        let fields = (code == LAGGED).then_some((arg::<usize>("capacity"),))?;
        let (capacity,) = data.arguments(fields)?;
        Some(Self { capacity })
    }
}

/// Converts the error for methods whose error is an [`ErrorObject`].
impl From<Lagged> for ErrorObject {
    fn from(lagged: Lagged) -> Self {
        Self::new(LAGGED, lagged.to_string()).with_data(&lagged)
    }
}

impl<T> SharedQueues<T> {
    fn state(&self) -> MutexGuard<'_, QueuesState<T>> {
        sync::lock(&self.0)
    }

    /// Resolves when no subscriber makes a sender wait.
    async fn has_room(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.is_closed || state.queues.values().all(Queue::has_room) {
                return Poll::Ready(());
            }
            let replaced = state.sender.register(cx);
            drop(state);
            drop(replaced);
            Poll::Pending
        })
        .await;
    }

    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let sender = state.sender.take();
        let subscribers = state.queues.values_mut();
        let wakers: Vec<_> = subscribers.filter_map(|queue| queue.waker.take()).collect();
        drop(state);
        wake_all(wakers.into_iter().chain(sender));
    }
}

impl<T: Clone> SharedQueues<T> {
    /// Puts an item into every queue. Wakes tasks and drops items after releasing the lock, because either may take it
    /// again.
    fn deliver(&self, item: T, deferred: &mut Deferred<T>) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let mut queues = state.queues.values_mut();
        let last = queues.next_back();
        for queue in queues {
            queue.push(item.clone(), deferred);
        }
        if let Some(queue) = last {
            queue.push(item, deferred);
        }
        drop(state);
        deferred.dropped.clear();
        wake_all(deferred.wakers.drain(..));
    }
}

impl<T> QueuesState<T> {
    fn subscribe(&mut self, queue: Queue<T>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.queues.insert(id, queue);
        id
    }
}

impl<T> Queue<T> {
    /// Returns `true` if a sender need not wait for this subscriber.
    fn has_room(&self) -> bool {
        self.policy != Policy::Wait || self.items.len() <= self.capacity
    }

    /// Returns `true` if taking one item has just made room for a sender.
    fn is_at_capacity(&self) -> bool {
        self.policy == Policy::Wait && self.items.len() == self.capacity
    }

    fn push(&mut self, item: T, deferred: &mut Deferred<T>) {
        deferred.wakers.extend(self.waker.take());
        let is_full = self.items.len() >= self.capacity;
        match self.policy {
            Policy::End if is_full || self.has_lagged => {
                self.has_lagged = true;
                deferred.dropped.push(item);
                return;
            }
            Policy::DropOldest if is_full => {
                deferred.dropped.extend(self.items.pop_front());
                self.dropped += 1;
            }
            // The queue of a waiting subscriber may hold one item more than its capacity: that of the waiting sender.
            _ => {}
        }
        self.items.push_back(item);
    }
}
