//! One source, many subscribers, each with a queue and a lag policy of its own.
//!
//! tokio's `broadcast` has one ring for all: it can only drop the oldest. `async-broadcast` can wait, but for all
//! subscribers or for none. `watch` has the newest alone. Here one subscriber's policy is no matter of another's.

#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::error::{DataWriter, ErrorData, ErrorObject, RpcError};
use crate::codec::params::decode::arg;
use crate::sync::{Mutex, MutexGuard};

/// A source of items for many subscribers, each of which gets them all, in one order. Cheap to clone.
///
/// A subscription is a `Stream` that a handler can return as it is. It gets what is sent from then on.
///
/// ```
/// use futures_util::{Stream, TryStreamExt};
/// use rpc_runtime::{CallError, Client, Feed, rpc};
///
/// #[rpc]
/// trait Weather {
///     fn temperatures(&self) -> impl Stream<Item = f64>;
/// }
///
/// struct Station {
///     celsius: Feed<f64>,
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
/// let celsius = Feed::new();
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
/// A remote caller that is slow stops taking items from its subscription once the flow control window of its stream is
/// full. What happens when `capacity` items wait for it is the lag policy, which each subscriber chooses:
///
/// | policy | when the queue is full |
/// |---|---|
/// | [`subscribe_waiting`](Self::subscribe_waiting) | [`send`](Self::send) waits |
/// | [`subscribe_dropping_oldest`](Self::subscribe_dropping_oldest) | the oldest item makes room; [`missed`](Subscription::missed) counts |
/// | [`subscribe_or_end`](Self::subscribe_or_end) | the subscription ends with [`Lagged`], behind what is queued |
///
/// An item reaches everybody before its `send` waits for anybody.
///
/// # End
/// Subscriptions end, behind what is queued, when the last clone of the feed is dropped, or with [`close`](Self::close):
/// a server that shuts down closes its feeds, so that the streams of its callers end.
///
/// # Cost
/// A queue grows up to `capacity` when it has to. After that nothing is allocated for an item but what its `clone`
/// allocates; the last subscriber gets the item itself. Items are cloned under the feed's lock: put large ones into an
/// `Arc`.
pub struct Feed<T>(Arc<BroadcastInner<T>>);

/// Ends the subscriptions when it is dropped.
struct BroadcastInner<T> {
    shared: Arc<SharedQueues<T>>,
    /// Senders wait here for each other. Whoever has the turn may use what is in it.
    turn: tokio::sync::Mutex<Leftovers<T>>,
}

/// What a delivery leaves to do without the lock. Kept, so that the next one finds it grown.
struct Leftovers<T> {
    wakers: Vec<Waker>,
    dropped: Vec<T>,
}

struct SharedQueues<T>(Mutex<QueuesState<T>>);

struct QueuesState<T> {
    queues: BTreeMap<u64, Queue<T>>,
    next_id: u64,
    is_closed: bool,
    /// The sender that waits for room.
    sender: Option<Waker>,
}

struct Queue<T> {
    items: VecDeque<T>,
    capacity: usize,
    policy: Policy,
    /// Items that made room for others.
    dropped: u64,
    has_lagged: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Wait,
    DropOldest,
    End,
}

impl<T> Feed<T> {
    /// A feed without subscribers.
    pub fn new() -> Self {
        let state = QueuesState {
            queues: BTreeMap::new(),
            next_id: 0,
            is_closed: false,
            sender: None,
        };
        let leftovers = Leftovers {
            wakers: Vec::new(),
            dropped: Vec::new(),
        };
        Self(Arc::new(BroadcastInner {
            shared: Arc::new(SharedQueues(Mutex::new(state))),
            turn: tokio::sync::Mutex::new(leftovers),
        }))
    }

    /// Subscribes; [`send`](Self::send) waits while more than `capacity` items wait for this subscriber. Nothing is lost.
    ///
    /// Whoever does not take items holds the sender up for as long as it has this subscription.
    ///
    /// # Panics
    /// When `capacity` is 0.
    pub fn subscribe_waiting(&self, capacity: usize) -> Subscription<T> {
        self.subscribe(capacity, Policy::Wait)
    }

    /// Subscribes; when `capacity` items wait, the next one takes the place of the oldest.
    ///
    /// [`Subscription::missed`] says how many were dropped. With it in the item, a remote caller knows, too:
    ///
    /// ```
    /// use futures_util::{Stream, StreamExt, stream};
    /// use rpc_runtime::{Feed, rpc};
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
    ///     cents: Feed<u64>,
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
    /// When `capacity` is 0.
    pub fn subscribe_dropping_oldest(&self, capacity: usize) -> Subscription<T> {
        self.subscribe(capacity, Policy::DropOldest)
    }

    /// Subscribes; when `capacity` items wait and one more comes, the subscription ends with [`Lagged`], behind those
    /// that wait.
    ///
    /// `E` is `Lagged` itself or a method's own error, which then says so:
    ///
    /// ```
    /// use futures_util::Stream;
    /// use rpc_runtime::{Feed, Lagged, RpcError, rpc};
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
    ///     orders: Feed<u64>,
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
    /// When `capacity` is 0.
    pub fn subscribe_or_end<E: From<Lagged>>(&self, capacity: usize) -> SubscriptionOrEnd<T, E> {
        SubscriptionOrEnd {
            items: self.subscribe(capacity, Policy::End),
            error: PhantomData,
        }
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
            waker: None,
        };
        let id = shared.state().subscribe(queue);
        Subscription {
            shared,
            id,
            missed: 0,
        }
    }

    /// Ends all subscriptions behind what is queued, those to come as well. What is sent from now on reaches nobody.
    pub fn close(&self) {
        self.0.shared.close();
    }
}

impl<T: Clone> Feed<T> {
    /// Sends `item` to all who have subscribed. Then waits for as long as a
    /// [waiting](Self::subscribe_waiting) subscriber has more than its capacity queued.
    ///
    /// Senders wait for each other, first come, first served.
    ///
    /// Cancel safe, as far as the item is concerned: it reaches all subscribers or none. When it was dropped for waiting
    /// too long, the next one waits first.
    pub async fn send(&self, item: T) {
        let mut turn = self.0.turn.lock().await;
        self.0.shared.has_room().await;
        self.0.shared.deliver(item, &mut turn);
        self.0.shared.has_room().await;
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subscribers = self.0.shared.state().queues.len();
        f.debug_struct("Feed")
            .field("subscribers", &subscribers)
            .finish_non_exhaustive()
    }
}

impl<T> Drop for BroadcastInner<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The items of a [`Feed`], in order. Dropping it ends it.
///
/// Cancel safe: `next` may be dropped and loses nothing.
#[must_use = "items wait for whoever has subscribed"]
pub struct Subscription<T> {
    shared: Arc<SharedQueues<T>>,
    id: u64,
    missed: u64,
}

impl<T> Subscription<T> {
    /// How many items were dropped before the one that came last, since the beginning.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The next item; `None` behind the last; the capacity of a queue that was full.
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
            let sender = queue.is_at_its_bound().then(|| sender.take()).flatten();
            drop(state);
            sender.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(item)));
        }
        if queue.has_lagged {
            let capacity = queue.capacity;
            let over = queues.remove(&self.id);
            drop(state);
            drop(over);
            return Poll::Ready(Some(Err(Lagged { capacity })));
        }
        if *is_closed {
            return Poll::Ready(None);
        }
        let former = renew(&mut queue.waker, cx);
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let item = self.get_mut().poll_item(cx);
        // Only the other kind lags.
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
        sender.into_iter().for_each(Waker::wake);
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// The items of a [`Feed`], in order and without gaps, or an error. Dropping it ends it.
///
/// Cancel safe: `next` may be dropped and loses nothing.
#[must_use = "items wait for whoever has subscribed"]
pub struct SubscriptionOrEnd<T, E> {
    items: Subscription<T>,
    error: PhantomData<fn() -> E>,
}

impl<T, E: From<Lagged>> Stream for SubscriptionOrEnd<T, E> {
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = self.get_mut().items.poll_item(cx);
        item.map(|item| item.map(|item| item.map_err(E::from)))
    }
}

impl<T, E> fmt::Debug for SubscriptionOrEnd<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionOrEnd").finish_non_exhaustive()
    }
}

/// A subscriber of a [`Feed`] was too slow: `capacity` items waited for it when one more came.
///
/// It has had everything that was sent before. As a method's error its code is −31000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("more than {capacity} items waited to be taken")]
#[non_exhaustive]
pub struct Lagged {
    /// The items that may wait.
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

/// For methods whose error is an [`ErrorObject`].
impl From<Lagged> for ErrorObject {
    fn from(lagged: Lagged) -> Self {
        Self::new(LAGGED, lagged.to_string()).with_data(&lagged)
    }
}

impl<T> SharedQueues<T> {
    fn state(&self) -> MutexGuard<'_, QueuesState<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when a sender need not wait for anybody.
    async fn has_room(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.is_closed || state.queues.values().all(Queue::has_room) {
                return Poll::Ready(());
            }
            let former = renew(&mut state.sender, cx);
            drop(state);
            drop(former);
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
        wakers.into_iter().chain(sender).for_each(Waker::wake);
    }
}

impl<T: Clone> SharedQueues<T> {
    /// Puts an item into every queue. Nobody is woken, and no item dropped, under the lock: either may come back here.
    fn deliver(&self, item: T, left: &mut Leftovers<T>) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let mut queues = state.queues.values_mut();
        let last = queues.next_back();
        for queue in queues {
            queue.push(item.clone(), left);
        }
        if let Some(queue) = last {
            queue.push(item, left);
        }
        drop(state);
        left.dropped.clear();
        left.wakers.drain(..).for_each(Waker::wake);
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
    /// Whether a sender need not wait for this subscriber.
    fn has_room(&self) -> bool {
        self.policy != Policy::Wait || self.items.len() <= self.capacity
    }

    /// Whether one item less made room for a sender.
    fn is_at_its_bound(&self) -> bool {
        self.policy == Policy::Wait && self.items.len() == self.capacity
    }

    fn push(&mut self, item: T, left: &mut Leftovers<T>) {
        left.wakers.extend(self.waker.take());
        let is_full = self.items.len() >= self.capacity;
        match self.policy {
            Policy::End if is_full || self.has_lagged => {
                self.has_lagged = true;
                left.dropped.push(item);
                return;
            }
            Policy::DropOldest if is_full => {
                left.dropped.extend(self.items.pop_front());
                self.dropped += 1;
            }
            // The one more than its capacity is the one that its sender waits with.
            _ => {}
        }
        self.items.push_back(item);
    }
}

/// Has `slot` wake this task; returns the waker that is to be dropped without the lock.
fn renew(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.replace(cx.waker().clone()),
    }
}
