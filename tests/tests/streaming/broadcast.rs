//! Subscribers of a broadcast that do not read, under each lag policy, over QUIC.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::broadcast::Lagged;
use rpc_runtime::{Broadcast, CallError, Limits, RpcError, ServerHandle, rpc};
use serde::{Deserialize, Serialize};
use tests::support::{serve, soon};
use tokio::sync::watch;

/// The number of items that may wait for a subscriber.
const CAPACITY: usize = 16;

/// The size of an item, a few of which fill the flow control window of a stream.
const TEXT: usize = 8 << 10;

/// The number of items that exceed all windows, buffers and queues of both ends.
const MANY: u64 = 2_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct News {
    number: u64,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Headline {
    news: News,
    missed: u64,
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum PaperError {
    #[error("you read too slowly: {0}")]
    #[rpc(code = 1)]
    Slow(#[from] Lagged),
}

#[rpc]
trait Paper {
    fn every(&self) -> impl Stream<Item = News>;
    fn latest(&self) -> impl Stream<Item = Headline>;
    fn strict(&self) -> impl Stream<Item = Result<News, PaperError>>;
    fn plain(&self) -> impl Stream<Item = Result<News, Lagged>>;
    /// The present news, and each that is the latest when it is sent.
    fn present(&self) -> impl Stream<Item = News>;
    /// Sends news from a thread, to all subscribers.
    #[rpc(blocking)]
    fn print(&self, from: u64, count: u64);
    async fn add(&self, a: u64, b: u64) -> u64;
}

struct Press {
    news: Broadcast<News>,
    present: watch::Sender<News>,
    subscribed: watch::Sender<usize>,
}

impl Press {
    fn count<S>(&self, subscription: S) -> S {
        self.subscribed.send_modify(|subscribed| *subscribed += 1);
        subscription
    }
}

impl Paper for Press {
    fn every(&self) -> impl Stream<Item = News> {
        self.count(self.news.subscribe_waiting(CAPACITY))
    }

    fn latest(&self) -> impl Stream<Item = Headline> {
        let news = self.count(self.news.subscribe_dropping_oldest(CAPACITY));
        stream::unfold(news, async |mut subscription| {
            let news = subscription.next().await?;
            let missed = subscription.missed();
            Some((Headline { news, missed }, subscription))
        })
    }

    fn strict(&self) -> impl Stream<Item = Result<News, PaperError>> {
        self.count(self.news.subscribe_or_end(CAPACITY))
    }

    fn plain(&self) -> impl Stream<Item = Result<News, Lagged>> {
        self.count(self.news.subscribe_or_end(CAPACITY))
    }

    fn present(&self) -> impl Stream<Item = News> {
        let mut present = self.count(self.present.subscribe());
        present.mark_changed();
        stream::unfold(present, async |mut present| {
            present.changed().await.ok()?;
            let latest = present.borrow_and_update().clone();
            Some((latest, present))
        })
    }

    fn print(&self, from: u64, count: u64) {
        for number in from..from + count {
            let text = String::new();
            self.news.blocking_send(News { number, text });
        }
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

/// A server with a broadcast, and a client.
struct Harness {
    news: Broadcast<News>,
    present: watch::Sender<News>,
    subscribed: watch::Receiver<usize>,
    paper: PaperClient,
    server: ServerHandle,
    /// The number of items that the broadcast has accepted.
    sent: Arc<AtomicU64>,
}

async fn harness() -> Harness {
    let (news, subscribed) = (Broadcast::new(), watch::Sender::new(0));
    let receiver = subscribed.subscribe();
    let text = "x".repeat(TEXT);
    let present = watch::Sender::new(News { number: 0, text });
    let press = Press {
        news: news.clone(),
        present: present.clone(),
        subscribed,
    };
    let (client, server) = serve(PaperServer::new(press), Limits::default()).await;
    Harness {
        news,
        present,
        subscribed: receiver,
        paper: PaperClient::new(client),
        server,
        sent: Arc::default(),
    }
}

impl Harness {
    /// Polls `items`, which sends the call, until there is this number of subscribers.
    async fn has_subscribed<S: Stream + Unpin>(&mut self, items: &mut S, subscribed: usize) {
        let mut subscribers = self.subscribed.clone();
        tokio::select! {
            item = items.next() => assert!(item.is_some(), "nothing was sent yet"),
            _ = soon(subscribers.wait_for(|now| *now == subscribed)) => {}
        }
    }

    /// Spawns a task that sends `items` items.
    fn send(&self, items: u64) -> tokio::task::JoinHandle<()> {
        let (feed, sent) = (self.news.clone(), Arc::clone(&self.sent));
        let text = "x".repeat(TEXT);
        tokio::spawn(async move {
            for number in 0..items {
                let text = text.clone();
                feed.send(News { number, text }).await;
                sent.store(number + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    }

    /// Waits until the broadcast accepts no more items, while the server answers calls.
    async fn has_stalled(&self) -> u64 {
        let (mut seen, mut rounds) = (0, 0);
        while rounds < 100 {
            let now = self.sent.load(Ordering::Relaxed);
            (seen, rounds) = if now == seen {
                (seen, rounds + 1)
            } else {
                (now, 0)
            };
            assert_eq!(soon(self.paper.add(1, 2)).await.unwrap(), 3);
        }
        seen
    }
}

#[tokio::test]
async fn waiting_subscriber_that_is_slow_delays_the_source_and_misses_nothing() {
    let mut harness = harness().await;
    let mut every = harness.paper.every();
    harness.has_subscribed(&mut every, 1).await;
    let sending = harness.send(MANY);
    let sent = harness.has_stalled().await;
    assert!(sent < MANY, "the source was not held up");
    for number in 0..MANY {
        let news = soon(every.next()).await.unwrap().unwrap();
        assert_eq!(news.number, number);
    }
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn dropped_subscriber_no_longer_delays_the_source() {
    let mut harness = harness().await;
    let mut every = harness.paper.every();
    harness.has_subscribed(&mut every, 1).await;
    let sending = harness.send(MANY);
    assert!(harness.has_stalled().await < MANY);
    drop(every);
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn subscriber_that_drops_the_oldest_learns_how_many_it_missed() {
    let mut harness = harness().await;
    let mut latest = harness.paper.latest();
    harness.has_subscribed(&mut latest, 1).await;
    soon(harness.send(MANY)).await.unwrap();
    harness.news.close();
    let (mut next, mut received) = (0, 0);
    while let Some(headline) = soon(latest.next()).await {
        let Headline { news, missed } = headline.unwrap();
        assert_eq!(news.number, received + missed, "what came and what did not");
        assert!(news.number >= next);
        (next, received) = (news.number + 1, received + 1);
    }
    assert_eq!(next, MANY, "the newest stay");
    assert!(received < MANY, "nothing was missed");
}

#[tokio::test]
async fn subscriber_that_allows_no_gaps_ends_with_an_error_when_slow() {
    let mut harness = harness().await;
    let (mut strict, mut plain) = (harness.paper.strict(), harness.paper.plain());
    harness.has_subscribed(&mut strict, 1).await;
    harness.has_subscribed(&mut plain, 2).await;
    soon(harness.send(MANY)).await.unwrap();

    let mut expected = 0;
    let error = loop {
        match soon(strict.next()).await.expect("no end but the error") {
            Ok(news) => assert_eq!(news.number, expected),
            Err(error) => break error,
        }
        expected += 1;
    };
    match error {
        CallError::Application(PaperError::Slow(Lagged { capacity, .. })) => {
            assert_eq!(capacity, CAPACITY)
        }
        other => panic!("{other:?}"),
    }
    assert!(expected < MANY);
    assert!(soon(strict.next()).await.is_none());

    let last = soon(plain.collect::<Vec<_>>()).await.pop();
    match last {
        Some(Err(CallError::Application(Lagged { capacity, .. }))) => {
            assert_eq!(capacity, CAPACITY)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn closed_broadcast_ends_its_streams_and_the_server_drains() {
    let mut harness = harness().await;
    let mut every = harness.paper.every();
    harness.has_subscribed(&mut every, 1).await;
    soon(harness.send(1)).await.unwrap();
    harness.news.close();
    assert_eq!(soon(every.next()).await.unwrap().unwrap().number, 0);
    assert!(soon(every.next()).await.is_none());
    let limit = std::time::Duration::from_secs(20);
    assert!(soon(harness.server.shutdown(limit)).await);
}

#[tokio::test]
async fn blocking_handlers_send_to_subscribers_in_turn_and_wait_for_slow_ones() {
    let mut harness = harness().await;
    let mut every = harness.paper.every();
    harness.has_subscribed(&mut every, 1).await;
    let printing: Vec<_> = (0..4_u64)
        .map(|press| tokio::spawn(harness.paper.print(press * MANY, MANY)))
        .collect();
    let mut next = [0; 4];
    for _ in 0..4 * MANY {
        let News { number, .. } = soon(every.next()).await.unwrap().unwrap();
        let (press, of_press) = ((number / MANY) as usize, number % MANY);
        assert_eq!(of_press, next[press]);
        next[press] += 1;
    }
    for printed in printing {
        soon(printed).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn subscriber_that_needs_only_the_latest_item_sees_it_however_slow_it_is() {
    let mut harness = harness().await;
    let present = harness.paper.present();
    let (latest, mut seen) = watch::channel(None);
    tokio::spawn(present.for_each(move |news| {
        latest.send_replace(Some(news.unwrap().number));
        std::future::ready(())
    }));
    // The present item arrives without a new one.
    let first = soon(seen.wait_for(Option::is_some)).await.unwrap().unwrap();
    assert_eq!(first, 0);
    soon(harness.subscribed.wait_for(|now| *now == 1))
        .await
        .unwrap();
    // The subscriber takes none of these items, which are more than all windows hold.
    for number in 1..=MANY {
        harness.present.send_modify(|news| news.number = number);
        tokio::task::yield_now().await;
    }
    let last = soon(seen.wait_for(|seen| *seen >= Some(MANY)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last, MANY);
    assert_eq!(soon(harness.paper.add(1, 2)).await.unwrap(), 3);
}
