//! Clients behind a link with injected faults. The clock is paused, so delays are exact.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use rpc_runtime::testing::Link;
use rpc_runtime::{CallError, Client, ClientBuilder, Context, Execution, Stream, rpc};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

const LATENCY: Duration = Duration::from_millis(50);
const ROUND_TRIP: Duration = Duration::from_millis(100);

#[rpc]
trait Desk {
    #[rpc(idempotent)]
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn order(&self, item: &str) -> usize;
    async fn hang(&self);
    async fn reverse(&self, text: String) -> String;
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64;
    #[rpc(notification, unreliable)]
    async fn position(&self, x: u32);
    async fn name_of_caller(&self, cx: &Context) -> String;
}

#[rpc]
trait Caller {
    async fn name(&self) -> String;
}

struct Ada;

impl Caller for Ada {
    async fn name(&self) -> String {
        "Ada".to_owned()
    }
}

/// Tells a test about the events in handlers.
struct Clerk {
    started: Notify,
    dropped: Notify,
    positions: mpsc::UnboundedSender<u32>,
}

struct NotifyOnDrop<'a>(&'a Notify);

impl Drop for NotifyOnDrop<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Desk for Arc<Clerk> {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
    async fn order(&self, item: &str) -> usize {
        self.started.notify_one();
        item.len()
    }
    async fn hang(&self) {
        let _dropped = NotifyOnDrop(&self.dropped);
        self.started.notify_one();
        std::future::pending().await
    }
    async fn reverse(&self, text: String) -> String {
        text.chars().rev().collect()
    }
    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }
    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64 {
        numbers.fold(0, async |sum, number| sum + number).await
    }
    async fn position(&self, x: u32) {
        let _ = self.positions.send(x);
    }
    async fn name_of_caller(&self, cx: &Context) -> String {
        cx.client::<CallerClient>().name().await.unwrap()
    }
}

struct Setup {
    link: Link,
    desk: DeskClient,
    client: Client,
    clerk: Arc<Clerk>,
    positions: mpsc::UnboundedReceiver<u32>,
}

async fn through(link: Link) -> Setup {
    with(Client::builder(), link).await
}

async fn with(builder: ClientBuilder, link: Link) -> Setup {
    let (sender, positions) = mpsc::unbounded_channel();
    let clerk = Arc::new(Clerk {
        started: Notify::new(),
        dropped: Notify::new(),
        positions: sender,
    });
    let client = builder
        .service(CallerServer::new(Ada))
        .local_through(&link, DeskServer::new(Arc::clone(&clerk)));
    client.ready().await.unwrap();
    Setup {
        desk: DeskClient::new(client.clone()),
        client,
        link,
        clerk,
        positions,
    }
}

/// Returns the result and the time that a future takes.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

/// Asserts that two times are equal, apart from the resolution of tokio's timers.
#[track_caller]
fn assert_takes(time: Duration, expected: Duration) {
    let timers = Duration::from_millis(5);
    assert!(
        (expected..expected + timers).contains(&time),
        "{time:?}, and {expected:?} expected"
    );
}

#[tokio::test(start_paused = true)]
async fn call_takes_a_round_trip() {
    let link = Link::new();
    link.set_latency(LATENCY);
    let (setup, connecting) = timed(through(link)).await;
    assert_takes(connecting, ROUND_TRIP);
    let (sum, time) = timed(async { setup.desk.add(1, 2).await.unwrap() }).await;
    assert_eq!(sum, 3);
    assert_takes(time, ROUND_TRIP);
    let calls = (0..100).map(async |n| setup.desk.add(n, n).await.unwrap());
    let (sums, time) = timed(futures_util::future::join_all(calls)).await;
    assert_eq!(sums, (0..100).map(|n| 2 * n).collect::<Vec<_>>());
    assert_takes(time, ROUND_TRIP);
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_unchanged_and_in_order_despite_latency_jitter_and_loss() {
    let link = Link::with_seed(1);
    link.set_latency(LATENCY);
    link.set_jitter(LATENCY);
    link.set_loss(0.2);
    let setup = through(link).await;
    let large = "0123456789".repeat(50_000);
    let reversed = setup.desk.reverse(large.clone()).await.unwrap();
    assert!(reversed == large.chars().rev().collect::<String>());
    let items = setup
        .desk
        .count(2_000)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    assert_eq!(items, (0..2_000).collect::<Vec<_>>());
    assert_eq!(
        setup.desk.sum(stream::iter(1..=1_000)).await.unwrap(),
        500_500
    );
    assert_eq!(setup.desk.name_of_caller().await.unwrap(), "Ada");
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_same_seed_are_the_same() {
    let mut times = Vec::new();
    for seed in [7, 7, 8] {
        let link = Link::with_seed(seed);
        link.set_latency(LATENCY);
        link.set_loss(0.5);
        let setup = through(link).await;
        let calls = async {
            for n in 0..20 {
                setup.desk.add(n, n).await.unwrap();
            }
        };
        times.push(timed(calls).await.1);
    }
    assert_eq!(times[0], times[1]);
    assert_ne!(times[0], times[2]);
}

#[tokio::test(start_paused = true)]
async fn dropped_call_drops_its_handler_after_the_latency() {
    let setup = through(Link::new()).await;
    setup.link.set_latency(LATENCY);
    let call = tokio::spawn(async move { setup.desk.hang().await });
    setup.clerk.started.notified().await;
    call.abort();
    let ((), time) = timed(setup.clerk.dropped.notified()).await;
    assert_takes(time, LATENCY);
    drop(setup.client);
}

#[tokio::test(start_paused = true)]
async fn disconnected_client_reconnects_and_repeats_only_idempotent_calls() {
    let setup = through(Link::new()).await;
    setup.link.set_latency(LATENCY);
    let desk = setup.desk.clone();
    let order = tokio::spawn(async move { desk.order("tea").await });
    setup.clerk.started.notified().await;
    let desk = setup.desk.clone();
    let sum = tokio::spawn(async move { desk.add(1, 2).await });
    tokio::task::yield_now().await;
    setup.link.disconnect();
    match order.await.unwrap() {
        Err(CallError::Connection {
            execution, reason, ..
        }) => {
            assert_eq!(execution, Execution::MayHaveExecuted);
            assert_eq!(reason, rpc_runtime::ConnectionError::TimedOut);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sum.await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn client_without_reconnection_ends_when_it_is_disconnected() {
    let setup = with(Client::builder().reconnect(false), Link::new()).await;
    assert_eq!(setup.desk.add(1, 2).await.unwrap(), 3);
    setup.link.disconnect();
    let lost = setup.client.closed().await;
    assert_eq!(lost, rpc_runtime::ConnectionError::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn blackhole_delays_calls_until_it_ends() {
    let setup = through(Link::new()).await;
    setup.link.set_blackhole(true);
    let (failed, time) =
        timed(async { setup.desk.add(1, 2).timeout(Duration::from_secs(1)).await }).await;
    assert!(matches!(failed, Err(CallError::Timeout)), "{failed:?}");
    assert_takes(time, Duration::from_secs(1));
    let desk = setup.desk.clone();
    let waiting = tokio::spawn(async move { desk.add(2, 3).await });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished());
    setup.link.set_blackhole(false);
    assert_eq!(waiting.await.unwrap().unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn client_cannot_connect_through_a_blackhole() {
    let setup = through(Link::new()).await;
    setup.link.set_blackhole(true);
    setup.link.disconnect();
    let failed = setup.desk.add(1, 2).timeout(Duration::from_secs(3)).await;
    assert!(
        matches!(failed, Err(CallError::Connection { .. })),
        "{failed:?}"
    );
    setup.link.set_blackhole(false);
    assert_eq!(setup.desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn unreliable_notifications_are_lost_at_about_the_rate_that_is_set() {
    let mut setup = through(Link::with_seed(3)).await;
    setup.link.set_loss(0.25);
    for x in 0..1_000 {
        setup.desk.position(x).await.unwrap();
        tokio::task::yield_now().await;
    }
    setup.link.set_loss(0.0);
    setup.desk.add(1, 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut arrived = 0;
    while setup.positions.try_recv().is_ok() {
        arrived += 1;
    }
    assert!((700..800).contains(&arrived), "{arrived}");
}

#[tokio::test(start_paused = true)]
async fn client_that_closes_has_sent_its_notifications() {
    let mut setup = through(Link::new()).await;
    setup.link.set_latency(LATENCY);
    for x in 0..10 {
        setup.desk.position(x).await.unwrap();
    }
    assert_eq!(setup.desk.add(1, 2).await.unwrap(), 3);
    setup.client.close().await;
    tokio::time::sleep(ROUND_TRIP).await;
    let mut arrived = Vec::new();
    while let Ok(x) = setup.positions.try_recv() {
        arrived.push(x);
    }
    assert_eq!(arrived, (0..10).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "a probability of loss is from 0 to 0.99")]
fn certain_loss_is_refused() {
    Link::new().set_loss(1.0);
}

#[tokio::test(start_paused = true)]
async fn longest_latency_and_jitter_delay_calls_until_their_timeouts() {
    let Setup { link, desk, .. } = through(Link::new()).await;
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    link.set_latency(Duration::MAX);
    link.set_jitter(Duration::MAX);
    link.set_loss(0.5);
    desk.position(1).await.unwrap();
    let late = desk.add(1, 2).timeout(Duration::from_secs(3600)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
}
