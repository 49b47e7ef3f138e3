//! Limits cancellations and timed-out messages, which cost the server more than the client.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::sync::{Mutex, lock};

/// The number of cancellations that a call that ends by itself offsets.
const FOR_EACH_CALL: f64 = 10.0;

/// Counts the cancellations and timed-out messages of a connection.
#[derive(Debug)]
pub(in crate::server) struct AbuseLimits {
    max_timed_out_messages: usize,
    max_cancellations: f64,
    cancellations_per_second: f64,
    timed_out_messages: AtomicUsize,
    /// Calls that ended by themselves since the last cancellation.
    ended: AtomicUsize,
    cancelled: Mutex<NetCancellations>,
    exceeded_notify: Notify,
}

/// Cancellations minus those that ended calls and elapsed time have offset.
#[derive(Debug)]
struct NetCancellations {
    net: f64,
    last: Instant,
}

impl AbuseLimits {
    pub(in crate::server) fn new(limits: &Limits) -> Self {
        Self {
            max_timed_out_messages: limits.late_messages,
            max_cancellations: limits.cancellations as f64,
            cancellations_per_second: limits.cancellations_per_second as f64,
            timed_out_messages: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            cancelled: Mutex::new(NetCancellations {
                net: 0.0,
                last: Instant::now(),
            }),
            exceeded_notify: Notify::new(),
        }
    }

    /// Records a stream that timed out in the middle of a message.
    pub(in crate::server) fn record_timed_out_message(&self) {
        if self.timed_out_messages.fetch_add(1, Ordering::Relaxed) >= self.max_timed_out_messages {
            self.exceeded_notify.notify_one();
        }
    }

    /// Records a call that ended by itself.
    pub(in crate::server) fn record_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a call that was cancelled, or a stream that was reset, before its end.
    pub(in crate::server) fn record_cancelled(&self) {
        let ended = self.ended.swap(0, Ordering::Relaxed) as f64;
        let now = Instant::now();
        let mut cancelled = lock(&self.cancelled);
        let seconds = now.saturating_duration_since(cancelled.last).as_secs_f64();
        let earned = ended * FOR_EACH_CALL + seconds * self.cancellations_per_second;
        cancelled.net = (cancelled.net - earned).max(0.0) + 1.0;
        cancelled.last = now;
        if cancelled.net > self.max_cancellations {
            self.exceeded_notify.notify_one();
        }
    }

    /// Resolves when the client has exceeded a limit; the connection is then closed.
    pub(in crate::server) async fn exceeded(&self) {
        self.exceeded_notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn abuse_limits(cancellations: usize, cancellations_per_second: usize) -> AbuseLimits {
        AbuseLimits::new(&Limits {
            cancellations,
            cancellations_per_second,
            late_messages: 2,
            ..Limits::default()
        })
    }

    fn exceeded(abuse_limits: &AbuseLimits) -> bool {
        let exceeded = pin!(abuse_limits.exceeded());
        exceeded
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn cancel(abuse_limits: &AbuseLimits, times: usize) {
        (0..times).for_each(|_| abuse_limits.record_cancelled());
    }

    #[test]
    fn cancellations_within_limit_are_accepted() {
        let abuse_limits = abuse_limits(20, 0);
        cancel(&abuse_limits, 20);
        assert!(!exceeded(&abuse_limits));
        cancel(&abuse_limits, 1);
        assert!(exceeded(&abuse_limits));
    }

    #[test]
    fn ended_call_offsets_ten_cancellations() {
        let abuse_limits = abuse_limits(20, 0);
        for _ in 0..100 {
            cancel(&abuse_limits, 10);
            abuse_limits.record_ended();
        }
        assert!(!exceeded(&abuse_limits));
        // The count does not fall below zero.
        cancel(&abuse_limits, 20);
        assert!(!exceeded(&abuse_limits));
        cancel(&abuse_limits, 1);
        assert!(exceeded(&abuse_limits));
    }

    #[test]
    fn time_offsets_cancellations() {
        let abuse_limits = abuse_limits(20, 1_000_000_000);
        cancel(&abuse_limits, 1000);
        assert!(!exceeded(&abuse_limits));
    }

    #[test]
    fn timed_out_messages_within_limit_are_accepted() {
        let abuse_limits = abuse_limits(20, 0);
        abuse_limits.record_timed_out_message();
        abuse_limits.record_timed_out_message();
        assert!(!exceeded(&abuse_limits));
        abuse_limits.record_timed_out_message();
        assert!(exceeded(&abuse_limits));
    }
}
