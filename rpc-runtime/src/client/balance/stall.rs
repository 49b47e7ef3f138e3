//! Detects, long before the connection times out, that no packets arrive from a server while calls are in flight. New calls
//! then go to other servers, if there are any. Calls in flight keep waiting, since the network may only be slow.
//!
//! Meanwhile the server is probed at short intervals. QUIC itself doubles the time between its probes, so that it would
//! notice a server that was restarted after two seconds only up to two seconds later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::transport::Traffic;

/// Mean interval between checks while calls are in flight. Each is random, so that the probes of many clients are spread.
const INTERVAL: Duration = Duration::from_millis(200);

/// A server stalls if no packet arrives for this long and for this many round trips.
const STALL_TIMEOUT: Duration = Duration::from_millis(500);
const ROUND_TRIPS: u32 = 3;

/// Minimum number of datagrams sent during that time: one that the server should have acknowledged, and a probe.
const UNACKNOWLEDGED: u64 = 2;

/// Detects stalls of one server. Runs no timer while no call is in flight.
#[derive(Debug, Default)]
pub(in crate::client) struct StallDetector {
    /// `true` if a call has begun since the last check.
    has_calls: AtomicBool,
    call_began: Notify,
    is_stalled: AtomicBool,
}

/// The counters of the connection to a server at one moment.
pub(in crate::client) struct Sample {
    pub(in crate::client) traffic: Traffic,
    pub(in crate::client) in_flight: usize,
}

impl StallDetector {
    /// Records that a call begins.
    pub(in crate::client) fn record_call(&self) {
        // Usually a call has been recorded already, and a load costs less than a store.
        if !self.has_calls.load(Ordering::Relaxed) && !self.has_calls.swap(true, Ordering::Relaxed)
        {
            self.call_began.notify_one();
        }
    }

    /// Returns `true` if the server stalls, so that other servers should be preferred.
    pub(in crate::client) fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// Resets the state for a new connection.
    pub(in crate::client) fn reset(&self) {
        self.is_stalled.store(false, Ordering::Relaxed);
    }

    /// Checks for stalls until the client is dropped. `sample` returns the counters of the connection, `Some(None)` if there
    /// is no connection, and `None` when the client has been dropped. `probe` asks the server for a packet.
    pub(in crate::client) async fn watch(
        &self,
        sample: impl Fn() -> Option<Option<Sample>>,
        probe: impl Fn(),
    ) -> Option<()> {
        loop {
            self.call_began.notified().await;
            self.watch_calls(&sample, &probe).await?;
        }
    }

    /// Checks for stalls until a check finds no stall, no call in flight, no call that began since the last check, and no
    /// acknowledgement that is due. Probes are sent only while calls are in flight.
    async fn watch_calls(
        &self,
        sample: impl Fn() -> Option<Option<Sample>>,
        probe: impl Fn(),
    ) -> Option<()> {
        let mut last_received = LastReceived::default();
        loop {
            let has_new_calls = self.has_calls.swap(false, Ordering::Relaxed);
            let (in_flight, is_awaited) = match sample()? {
                Some(sample) => {
                    if let Some(is_stalled) = last_received.update(&sample) {
                        self.is_stalled.store(is_stalled, Ordering::Relaxed);
                    }
                    if last_received.is_overdue(&sample) {
                        probe();
                    }
                    let is_awaited = last_received.was_asked(&sample.traffic);
                    (sample.in_flight, is_awaited)
                }
                None => (0, false),
            };
            // A server that owes an acknowledgement is observed until it answers or stalls. Otherwise a killed server would get
            // calls again and again if their timeouts are short.
            let is_settled = !self.is_stalled() && !is_awaited;
            if in_flight == 0 && !has_new_calls && is_settled {
                return Some(());
            }
            sleep(INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
        }
    }
}

/// The counters of a connection, and the time when the last packet was received.
struct LastReceived {
    received: u64,
    sent: u64,
    at: Instant,
}

impl Default for LastReceived {
    fn default() -> Self {
        Self {
            received: 0,
            sent: 0,
            at: Instant::now(),
        }
    }
}

impl LastReceived {
    /// Returns `true` if the server stalls and `false` if it does not; `None` if the sample does not show it.
    fn update(&mut self, sample: &Sample) -> Option<bool> {
        let Sample { traffic, in_flight } = sample;
        if traffic.received != self.received {
            *self = Self {
                received: traffic.received,
                sent: traffic.sent,
                at: Instant::now(),
            };
            return Some(false);
        }
        if *in_flight == 0 && !self.was_asked(traffic) {
            // A server that has nothing to acknowledge need not send anything.
            self.at = Instant::now();
            return None;
        }
        let timeout = STALL_TIMEOUT.max(traffic.round_trip * ROUND_TRIPS);
        (self.was_asked(traffic) && self.at.elapsed() >= timeout).then_some(true)
    }

    /// Returns `true` if the server should have acknowledged what was sent since its last packet.
    fn was_asked(&self, traffic: &Traffic) -> bool {
        traffic.sent >= self.sent + UNACKNOWLEDGED
    }

    /// Returns `true` if a packet of the server is overdue while calls are in flight. A server that has acknowledged all
    /// calls need not send anything until they end.
    fn is_overdue(&self, sample: &Sample) -> bool {
        let Sample { traffic, in_flight } = sample;
        let timeout = (INTERVAL / 2).max(traffic.round_trip * ROUND_TRIPS);
        *in_flight > 0 && self.was_asked(traffic) && self.at.elapsed() >= timeout
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The counters of a simulated connection.
    #[derive(Default)]
    struct Counters {
        received: Cell<u64>,
        sent: Cell<u64>,
        in_flight: Cell<usize>,
        looks: Cell<usize>,
        probes: Cell<usize>,
    }

    impl Counters {
        fn sample(&self) -> Option<Option<Sample>> {
            self.looks.set(self.looks.get() + 1);
            Some(Some(Sample {
                traffic: Traffic {
                    received: self.received.get(),
                    sent: self.sent.get(),
                    round_trip: Duration::from_millis(1),
                },
                in_flight: self.in_flight.get(),
            }))
        }
    }

    /// Runs the detector for some time.
    async fn watch(detector: &StallDetector, counters: &Counters, time: Duration) {
        let probe = || counters.probes.set(counters.probes.get() + 1);
        let watched = detector.watch(|| counters.sample(), probe);
        let _ = tokio::time::timeout(time, watched).await;
    }

    #[tokio::test(start_paused = true)]
    async fn watch_without_calls_never_looks() {
        let (detector, counters) = (StallDetector::default(), Counters::default());
        watch(&detector, &counters, INTERVAL * 1000).await;
        assert_eq!(counters.looks.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_after_the_last_call_has_ended_stops_looking() {
        let (detector, counters) = (StallDetector::default(), Counters::default());
        detector.record_call();
        counters.in_flight.set(1);
        let ended = async {
            sleep(INTERVAL * 10).await;
            counters.in_flight.set(0);
            let looks = counters.looks.get();
            assert!(looks >= 6, "{looks}");
            sleep(INTERVAL * 1000).await;
            assert!(counters.looks.get() <= looks + 4);
        };
        tokio::join!(watch(&detector, &counters, INTERVAL * 2000), ended);
        detector.record_call();
        let looks = counters.looks.get();
        watch(&detector, &counters, INTERVAL * 10).await;
        assert!(counters.looks.get() > looks);
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_sends_nothing_while_called_is_stalled_until_it_does() {
        let (detector, counters) = (StallDetector::default(), Counters::default());
        detector.record_call();
        counters.in_flight.set(1);
        counters.received.set(7);
        let observed = async {
            sleep(INTERVAL).await;
            counters.sent.set(UNACKNOWLEDGED);
            sleep(STALL_TIMEOUT + INTERVAL * 2).await;
            assert!(detector.is_stalled());
            let probes = counters.probes.get();
            assert!((2..=9).contains(&probes), "{probes}");
            // The calls time out, which is no sign of recovery.
            counters.in_flight.set(0);
            sleep(INTERVAL * 10).await;
            assert!(detector.is_stalled());
            counters.received.set(8);
            sleep(INTERVAL * 2).await;
            assert!(!detector.is_stalled());
        };
        tokio::join!(watch(&detector, &counters, INTERVAL * 100), observed);
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_lets_calls_with_short_timeouts_pass_is_stalled() {
        let (detector, counters) = (StallDetector::default(), Counters::default());
        counters.received.set(7);
        let calls = async {
            for _ in 0..4 {
                detector.record_call();
                counters.in_flight.set(1);
                sleep(INTERVAL / 4).await;
                // QUIC sends a request again that is not acknowledged.
                counters.sent.set(counters.sent.get() + UNACKNOWLEDGED);
                sleep(STALL_TIMEOUT / 2).await;
                counters.in_flight.set(0);
                sleep(STALL_TIMEOUT * 2).await;
            }
            let probes = counters.probes.get();
            assert!(detector.is_stalled());
            sleep(STALL_TIMEOUT * 10).await;
            assert_eq!(counters.probes.get(), probes, "no call is in flight");
        };
        tokio::join!(watch(&detector, &counters, STALL_TIMEOUT * 100), calls);
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_was_asked_nothing_is_not_stalled() {
        let (detector, counters) = (StallDetector::default(), Counters::default());
        detector.record_call();
        counters.in_flight.set(1);
        counters.received.set(7);
        watch(&detector, &counters, STALL_TIMEOUT * 10).await;
        assert!(!detector.is_stalled());
        assert_eq!(
            counters.probes.get(),
            0,
            "a call that takes long is no reason"
        );
    }
}
