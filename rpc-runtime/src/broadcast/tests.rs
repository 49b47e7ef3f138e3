//! Each lag policy, alone and beside the others.

use std::sync::{Mutex, OnceLock, mpsc};
use std::task::Wake;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, pin_mut};

use super::*;

/// Sends items for which there is room.
#[track_caller]
fn send<T: Clone>(feed: &Broadcast<T>, items: impl IntoIterator<Item = T>) {
    for item in items {
        feed.send(item).now_or_never().expect("room for the item");
    }
}

/// Takes the items that are queued.
fn queued<S: Stream + Unpin>(items: &mut S) -> Vec<S::Item> {
    std::iter::from_fn(|| items.next().now_or_never().flatten()).collect()
}

/// Whether a stream has ended, rather than being empty for now.
fn is_over(items: &mut (impl Stream + Unpin)) -> bool {
    matches!(items.next().now_or_never(), Some(None))
}

/// Fails the test if `future` is not woken.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    let ended = tokio::time::timeout(limit, future).await;
    ended.expect("the future is woken")
}

#[test]
fn subscriber_receives_every_item_sent_after_it_subscribed() {
    let feed = Broadcast::new();
    send(&feed, [0]);
    let mut first = feed.subscribe_waiting(8);
    send(&feed, [1, 2]);
    let mut second = feed.subscribe_dropping_oldest(8);
    let mut third = feed.subscribe_or_end::<Lagged>(8);
    send(&feed, [3, 4]);
    assert_eq!(queued(&mut first), [1, 2, 3, 4]);
    assert_eq!(queued(&mut second), [3, 4]);
    assert_eq!(queued(&mut third), [Ok(3), Ok(4)]);
}

#[tokio::test]
async fn subscriber_that_waits_is_woken_for_an_item() {
    let feed = Broadcast::new();
    let mut items = feed.subscribe_waiting(1);
    let receiving = tokio::spawn(async move { items.next().await });
    tokio::task::yield_now().await;
    feed.send(7).await;
    assert_eq!(soon(receiving).await.unwrap(), Some(7));
}

#[tokio::test]
async fn sender_at_capacity_waits_for_room() {
    let feed = Broadcast::new();
    let mut slow = feed.subscribe_waiting(2);
    send(&feed, [1, 2]);
    let sending = tokio::spawn({
        let feed = feed.clone();
        async move { feed.send(3).await }
    });
    tokio::task::yield_now().await;
    assert!(!sending.is_finished());
    assert_eq!(slow.next().await, Some(1));
    soon(sending).await.unwrap();
    assert_eq!(queued(&mut slow), [2, 3]);
    assert_eq!(slow.missed(), 0);
}

#[test]
fn item_whose_sender_waits_reaches_other_subscribers() {
    let feed = Broadcast::new();
    let _slow = feed.subscribe_waiting(1);
    let mut quick = feed.subscribe_waiting(1);
    let mut dropping = feed.subscribe_dropping_oldest(8);
    let mut ending = feed.subscribe_or_end::<Lagged>(8);
    send(&feed, [1]);
    assert_eq!(queued(&mut quick), [1]);
    let waiting = feed.send(2);
    pin_mut!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(queued(&mut quick), [2]);
    assert_eq!(queued(&mut dropping), [1, 2]);
    assert_eq!(queued(&mut ending), [Ok(1), Ok(2)]);
}

#[test]
fn thread_sends_without_a_runtime_and_waits_for_room() {
    let feed = Broadcast::new();
    let mut items = feed.subscribe_waiting(1);
    let (sent, received) = mpsc::channel();
    let sender = thread::spawn({
        let feed = feed.clone();
        move || {
            for item in 0..100 {
                feed.blocking_send(item);
                sent.send(item).unwrap();
            }
        }
    });
    let limit = Duration::from_secs(20);
    assert_eq!(received.recv_timeout(limit), Ok(0));
    for item in 0..100 {
        // The subscriber has taken the items before this one, so the sender waits behind the next.
        while items
            .shared
            .state()
            .queues
            .values()
            .all(|queue| queue.items.is_empty())
        {
            thread::yield_now();
        }
        assert!(received.try_iter().all(|sent| sent <= item));
        assert_eq!(items.next().now_or_never().flatten(), Some(item));
    }
    sender.join().unwrap();
    drop(feed);
    assert!(is_over(&mut items));
}

#[tokio::test]
async fn threads_and_tasks_send_in_turn() {
    let feed = Broadcast::new();
    let items = feed.subscribe_waiting(1);
    for thread in 0..2 {
        let feed = feed.clone();
        thread::spawn(move || (0..100).for_each(|item| feed.blocking_send((thread, item))));
    }
    // Blocking handlers run on threads of this kind.
    for task in 2..4 {
        let feed = feed.clone();
        tokio::task::spawn_blocking(move || {
            (0..100).for_each(|item| feed.blocking_send((task, item)));
        });
    }
    for task in 4..6 {
        let feed = feed.clone();
        tokio::spawn(async move {
            for item in 0..100 {
                feed.send((task, item)).await;
            }
        });
    }
    drop(feed);
    let items: Vec<_> = soon(items.collect()).await;
    for sender in 0..6 {
        let own = items.iter().filter(|(by, _)| *by == sender);
        assert!(own.map(|(_, item)| *item).eq(0..100), "{sender}");
    }
}

#[tokio::test]
async fn thread_that_waits_for_room_is_woken_by_the_end_of_the_subscriber_and_by_close() {
    for closes in [false, true] {
        let feed = Broadcast::new();
        let mut items = feed.subscribe_waiting(1);
        let sender = tokio::task::spawn_blocking({
            let feed = feed.clone();
            move || (0..3).for_each(|item| feed.blocking_send(item))
        });
        // The sender waits behind the second item.
        assert_eq!(soon(items.next()).await, Some(0));
        match closes {
            true => feed.close(),
            false => drop(items),
        }
        soon(sender).await.unwrap();
    }
}

#[tokio::test]
#[should_panic(expected = "Cannot block the current thread from within a runtime")]
async fn blocking_send_in_a_task_panics() {
    Broadcast::new().blocking_send(1);
}

#[tokio::test]
async fn subscriber_dropped_while_sender_waits_wakes_the_sender() {
    let feed = Broadcast::new();
    let gone = feed.subscribe_waiting(1);
    send(&feed, [1]);
    let sending = tokio::spawn({
        let feed = feed.clone();
        async move { feed.send(2).await }
    });
    tokio::task::yield_now().await;
    assert!(!sending.is_finished());
    drop(gone);
    soon(sending).await.unwrap();
}

#[test]
fn sender_dropped_while_waiting_has_sent_and_the_next_one_waits() {
    let feed = Broadcast::new();
    let mut slow = feed.subscribe_waiting(1);
    send(&feed, [1]);
    assert!(feed.send(2).now_or_never().is_none());
    for dropped in 3..100 {
        assert!(feed.send(dropped).now_or_never().is_none());
    }
    assert_eq!(queued(&mut slow), [1, 2]);
    send(&feed, [100]);
    assert_eq!(queued(&mut slow), [100]);
}

#[test]
fn oldest_items_dropped_are_counted_before_the_item_behind_them() {
    let feed = Broadcast::new();
    let mut latest = feed.subscribe_dropping_oldest(3);
    send(&feed, 1..=3);
    assert_eq!(latest.next().now_or_never(), Some(Some(1)));
    assert_eq!(latest.missed(), 0);
    send(&feed, 4..=9);
    assert_eq!(latest.missed(), 0, "no item before the 1 was dropped");
    assert_eq!(latest.next().now_or_never(), Some(Some(7)));
    assert_eq!(latest.missed(), 5);
    assert_eq!(queued(&mut latest), [8, 9]);
    send(&feed, 10..=14);
    assert_eq!(queued(&mut latest), [12, 13, 14]);
    assert_eq!(latest.missed(), 7);
}

#[test]
fn subscriber_that_lags_receives_queued_items_then_the_error() {
    let feed = Broadcast::new();
    let mut strict = feed.subscribe_or_end::<Lagged>(2);
    let mut other = feed.subscribe_or_end::<Lagged>(8);
    send(&feed, 1..=2);
    assert_eq!(queued(&mut strict), [Ok(1), Ok(2)]);
    send(&feed, 3..=5);
    assert_eq!(strict.next().now_or_never(), Some(Some(Ok(3))));
    send(&feed, [6]);
    let lagged = Err(Lagged { capacity: 2 });
    assert_eq!(queued(&mut strict), [Ok(4), lagged]);
    assert!(is_over(&mut strict));
    assert_eq!(queued(&mut other).len(), 6);
}

#[test]
fn feed_dropped_or_closed_ends_subscriptions_behind_queued_items() {
    for close in [false, true] {
        let feed = Broadcast::new();
        let mut waiting = feed.subscribe_waiting(1);
        let mut dropping = feed.subscribe_dropping_oldest(1);
        let mut ending = feed.subscribe_or_end::<Lagged>(1);
        send(&feed, [1]);
        let clone = feed.clone();
        drop(feed);
        assert!(waiting.next().now_or_never().is_some());
        assert!(waiting.next().now_or_never().is_none());
        if close {
            clone.close();
            send(&clone, [2]);
            assert!(is_over(&mut clone.subscribe_waiting(1)));
        }
        drop(clone);
        assert!(is_over(&mut waiting));
        assert_eq!(queued(&mut dropping), [1]);
        assert!(is_over(&mut dropping));
        assert_eq!(queued(&mut ending), [Ok(1)]);
        assert!(is_over(&mut ending));
    }
}

#[tokio::test]
async fn close_wakes_sender_and_subscriber() {
    let feed = Broadcast::<u32>::new();
    let mut items = feed.subscribe_waiting(1);
    let slow = feed.subscribe_waiting(1);
    let receiving = tokio::spawn(async move { while items.next().await.is_some() {} });
    let sending = tokio::spawn({
        let feed = feed.clone();
        async move {
            for item in 0..3 {
                feed.send(item).await;
            }
        }
    });
    tokio::task::yield_now().await;
    assert!(!receiving.is_finished() && !sending.is_finished());
    feed.close();
    soon(receiving).await.unwrap();
    soon(sending).await.unwrap();
    drop(slow);
}

/// Locks the feed whenever it is woken or dropped.
#[derive(Clone)]
struct LockingWaker(Arc<OnceLock<Broadcast<LockingWaker>>>, Arc<Mutex<usize>>);

impl LockingWaker {
    fn lock_feed(&self) {
        let _ = format!("{:?}", self.0.get());
        *self.1.lock().unwrap() += 1;
    }
}

impl Wake for LockingWaker {
    fn wake(self: Arc<Self>) {
        self.lock_feed();
    }
}

impl Drop for LockingWaker {
    fn drop(&mut self) {
        self.lock_feed();
    }
}

#[test]
fn wakers_and_items_are_woken_and_dropped_without_the_lock() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let cell = Arc::new(OnceLock::new());
        let locked = Arc::default();
        let feed = cell.get_or_init(Broadcast::new);
        let locking_waker = || LockingWaker(Arc::clone(&cell), Arc::clone(&locked));
        let waker = || Waker::from(Arc::new(locking_waker()));

        let mut waiting = feed.subscribe_waiting(1);
        let mut dropping = feed.subscribe_dropping_oldest(1);
        let ending = feed.subscribe_or_end::<Lagged>(1);
        for _ in 0..2 {
            // The second waker replaces the first, which is dropped.
            let next = dropping.poll_next_unpin(&mut Context::from_waker(&waker()));
            assert!(next.is_pending());
        }
        send(feed, [locking_waker()]);
        let sending = feed.send(locking_waker());
        pin_mut!(sending);
        for _ in 0..2 {
            let sent = sending.as_mut().poll(&mut Context::from_waker(&waker()));
            assert!(sent.is_pending());
        }
        drop(queued(&mut waiting));
        drop((waiting, dropping, ending));
        feed.close();
        let locked = *locked.lock().unwrap();
        done.send(locked).unwrap();
    });
    let locked = is_done
        .recv_timeout(Duration::from_secs(20))
        .expect("no deadlock");
    assert!(locked > 4, "{locked}");
}

#[test]
fn send_after_warm_up_allocates_nothing() {
    let feed = Broadcast::new();
    let mut waiting = feed.subscribe_waiting(4);
    let mut dropping = feed.subscribe_dropping_oldest(4);
    let mut ending = feed.subscribe_or_end::<Lagged>(4);
    let _lagging = feed.subscribe_dropping_oldest(4);
    let _lagged = feed.subscribe_or_end::<Lagged>(4);
    let mut run = |items: u64| {
        for item in 0..items {
            // Both wait, so each is woken for its item.
            assert!(waiting.next().now_or_never().is_none());
            assert!(ending.next().now_or_never().is_none());
            match item % 2 {
                0 => send(&feed, [item]),
                _ => feed.blocking_send(item),
            }
            assert_eq!(waiting.next().now_or_never(), Some(Some(item)));
            assert_eq!(dropping.next().now_or_never(), Some(Some(item)));
            assert_eq!(ending.next().now_or_never(), Some(Some(Ok(item))));
        }
    };
    run(16);
    let counted = allocation_counter::measure(|| run(1_000));
    assert_eq!(counted.count_total, 0);
}

#[test]
#[should_panic(expected = "room for an item")]
fn subscribe_with_capacity_zero_panics() {
    drop(Broadcast::<u32>::new().subscribe_waiting(0));
}

#[test]
fn lagged_as_error_object_has_its_code_and_data() {
    let error = ErrorObject::from(Lagged { capacity: 3 });
    assert_eq!(error.code(), Lagged { capacity: 3 }.code());
    assert_eq!(error.data::<Lagged>().unwrap(), Lagged { capacity: 3 });
}
