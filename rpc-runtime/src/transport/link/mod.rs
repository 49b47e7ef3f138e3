//! A network in memory with injected faults, between a client and a service of the same process.

mod forward;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::sync::{Mutex, lock};
use crate::transport::error::ConnectionError;
use crate::transport::memory;

/// A network in memory between a client and a service of the same process, for tests of how a program copes with faults.
///
/// [`ClientBuilder::local_through`](crate::ClientBuilder::local_through) creates the client. A link has no faults until a
/// method sets them, and all connections through it share them. Clones refer to the same link.
///
/// Its delays are timers of tokio, so in a test with a
/// [paused clock](https://docs.rs/tokio/latest/tokio/time/fn.pause.html) they take no time, and what happens depends only on the seed.
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::testing::Link;
/// use rpc_runtime::{CallError, Client, rpc};
///
/// #[rpc]
/// trait Calculator {
///     #[rpc(idempotent)]
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # tokio::time::pause();
/// let link = Link::new();
/// link.set_latency(Duration::from_millis(40));
/// let client = Client::builder().local_through(&link, CalculatorServer::new(Desk));
/// let calculator = CalculatorClient::new(client);
/// assert_eq!(calculator.add(1, 2).await.unwrap(), 3);
///
/// link.disconnect(); // the client reconnects
/// assert_eq!(calculator.add(1, 2).await.unwrap(), 3);
///
/// link.set_blackhole(true);
/// let failed = calculator.add(1, 2).timeout(Duration::from_secs(1)).await;
/// assert!(matches!(failed, Err(CallError::Timeout)));
/// # }
/// ```
///
/// # Not simulated
///
/// Streams are reliable, as in QUIC: a lost packet delays its stream. Bandwidth, congestion control, idle timeouts, migration
/// and TLS are not simulated. [`disconnect`](Self::disconnect) does what an idle timeout does.
#[derive(Debug, Clone)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    faults: Mutex<Faults>,
    is_blackhole: watch::Sender<bool>,
    /// The number of calls of [`Link::disconnect`].
    disconnections: watch::Sender<u64>,
}

#[derive(Debug)]
struct Faults {
    latency: Duration,
    jitter: Duration,
    loss: f64,
    random: Rng,
}

/// The time for which a packet is on the way at most: as long as tokio's timers run at most.
const FAR_FUTURE: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Returns the time that is later than now by `delay`, or by [`FAR_FUTURE`] if that is shorter.
fn after(delay: Duration) -> Instant {
    Instant::now() + delay.min(FAR_FUTURE)
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// Creates a link without faults. Random faults depend on a constant seed.
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// Creates a link without faults. Random faults depend on `seed`, and on the order in which packets are sent.
    pub fn with_seed(seed: u64) -> Self {
        Self(Arc::new(Shared {
            faults: Mutex::new(Faults {
                latency: Duration::ZERO,
                jitter: Duration::ZERO,
                loss: 0.0,
                random: Rng::with_seed(seed),
            }),
            is_blackhole: watch::Sender::new(false),
            disconnections: watch::Sender::new(0),
        }))
    }

    /// Sets the time that each packet takes from one side to the other, which is half of the round-trip time. Defaults to
    /// zero. A connection is made after one round trip.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.0.faults).latency = latency;
    }

    /// Sets the maximum of an additional, random delay of each packet. Defaults to zero. Packets of a stream stay in order.
    pub fn set_jitter(&self, jitter: Duration) {
        lock(&self.0.faults).jitter = jitter;
    }

    /// Sets the probability that a packet is lost. Defaults to zero.
    ///
    /// A lost datagram does not arrive. The bytes of a stream are sent again after a round trip, and delay the later bytes
    /// of their stream. Without a [latency](Self::set_latency) a round trip takes no time, so that a loss does not delay streams.
    ///
    /// # Panics
    /// Panics if `probability` is not from 0 to 0.99.
    pub fn set_loss(&self, probability: f64) {
        assert!(
            (0.0..=0.99).contains(&probability),
            "a probability of loss is from 0 to 0.99, and this is {probability}"
        );
        lock(&self.0.faults).loss = probability;
    }

    /// Sets whether all packets are held back, and no connection can be made. Defaults to `false`. The bytes of streams that
    /// were held back arrive afterwards; datagrams do not.
    ///
    /// A connection survives. After [`disconnect`](Self::disconnect), too, the client remains disconnected until this is
    /// `false` again, as if the server were down.
    pub fn set_blackhole(&self, is_blackhole: bool) {
        self.0.is_blackhole.send_replace(is_blackhole);
    }

    /// Ends all connections at once with [`ConnectionError::TimedOut`], as both sides find it when no packet has arrived
    /// for longer than the idle timeout. What is on the way is lost.
    pub fn disconnect(&self) {
        self.0.disconnections.send_modify(|count| *count += 1);
    }

    /// Makes a connection. Returns the ends of the client and of the service.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(crate) async fn connect(&self) -> (memory::Connection, memory::Connection) {
        // The handshake takes a round trip.
        for _ in 0..2 {
            let arrival = self.arrival(Instant::now());
            self.arrives(arrival).await;
        }
        let (client, here) = memory::pair();
        let (there, service) = memory::pair();
        tokio::spawn(forward::forward(self.clone(), [here, there]));
        (client, service)
    }

    /// Returns when a packet arrives that is sent now, after a packet of the same stream that arrives at `last`.
    fn arrival(&self, last: Instant) -> Instant {
        let mut faults = lock(&self.0.faults);
        let mut delay = faults.delay();
        while faults.is_lost() {
            // The sender notices the loss when packets behind it are acknowledged.
            delay = delay.saturating_add(faults.latency.saturating_mul(2));
        }
        last.max(after(delay))
    }

    /// Returns when a datagram arrives that is sent now, or `None` if it is lost.
    fn datagram_arrival(&self) -> Option<Instant> {
        if *self.0.is_blackhole.borrow() {
            return None;
        }
        let mut faults = lock(&self.0.faults);
        if faults.is_lost() {
            return None;
        }
        Some(after(faults.delay()))
    }

    /// Waits until a packet arrives.
    async fn arrives(&self, arrival: Instant) {
        let now = Instant::now();
        if arrival > now {
            sleep(arrival - now).await;
        }
        // The sender is part of this link.
        let _ = self.0.is_blackhole.subscribe().wait_for(|is| !is).await;
    }

    /// Returns a future that resolves at the next [`disconnect`](Self::disconnect).
    fn disconnected(&self) -> impl Future<Output = ConnectionError> + use<> {
        let mut disconnections = self.0.disconnections.subscribe();
        let link = self.clone();
        async move {
            // The sender is part of this link.
            let _ = disconnections.changed().await;
            drop(link);
            ConnectionError::TimedOut
        }
    }
}

impl Faults {
    fn delay(&mut self) -> Duration {
        let jitter = self.jitter.mul_f64(self.random.f64());
        self.latency.saturating_add(jitter)
    }

    fn is_lost(&mut self) -> bool {
        self.loss > 0.0 && self.random.f64() < self.loss
    }
}
