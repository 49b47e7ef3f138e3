//! Cancellations and timed-out messages: what costs the server more than the client.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::sync::{Mutex, lock};

/// How many cancellations a call that ends by itself makes up for.
const FOR_EACH_CALL: f64 = 10.0;

/// Counts what a client does to no purpose.
#[derive(Debug)]
pub(in crate::server) struct AbuseLimits {
    limits: Limits,
    late_messages: AtomicUsize,
    /// Calls that ended by themselves since the last cancellation.
    ended: AtomicUsize,
    cancelled: Mutex<NetCancellations>,
    enough: Notify,
}

/// Net cancellations.
#[derive(Debug)]
struct NetCancellations {
    open: f64,
    last: Instant,
}

impl AbuseLimits {
    pub(in crate::server) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            late_messages: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            cancelled: Mutex::new(NetCancellations {
                open: 0.0,
                last: Instant::now(),
            }),
            enough: Notify::new(),
        }
    }

    /// Records a stream that timed out in the middle of a message.
    pub(in crate::server) fn record_late_message(&self) {
        if self.late_messages.fetch_add(1, Ordering::Relaxed) >= self.limits.late_messages {
            self.enough.notify_one();
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
        let made_up = ended * FOR_EACH_CALL + seconds * self.limits.cancellations_per_second as f64;
        cancelled.open = (cancelled.open - made_up).max(0.0) + 1.0;
        cancelled.last = now;
        if cancelled.open > self.limits.cancellations as f64 {
            self.enough.notify_one();
        }
    }

    /// Resolves when the connection is to be closed.
    pub(in crate::server) async fn exceeded(&self) {
        self.enough.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn conduct(cancellations: usize, cancellations_per_second: usize) -> AbuseLimits {
        AbuseLimits::new(&Limits {
            cancellations,
            cancellations_per_second,
            late_messages: 2,
            ..Limits::default()
        })
    }

    fn exceeded(conduct: &AbuseLimits) -> bool {
        let enough = pin!(conduct.exceeded());
        enough
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn cancel(conduct: &AbuseLimits, times: usize) {
        (0..times).for_each(|_| conduct.record_cancelled());
    }

    #[test]
    fn so_many_cancellations_are_free() {
        let conduct = conduct(20, 0);
        cancel(&conduct, 20);
        assert!(!exceeded(&conduct));
        cancel(&conduct, 1);
        assert!(exceeded(&conduct));
    }

    #[test]
    fn a_call_that_ends_makes_up_for_ten() {
        let conduct = conduct(20, 0);
        for _ in 0..100 {
            cancel(&conduct, 10);
            conduct.record_ended();
        }
        assert!(!exceeded(&conduct));
        // What is not used up is not saved.
        cancel(&conduct, 20);
        assert!(!exceeded(&conduct));
        cancel(&conduct, 1);
        assert!(exceeded(&conduct));
    }

    #[test]
    fn time_makes_up_for_some() {
        let conduct = conduct(20, 1_000_000_000);
        cancel(&conduct, 1000);
        assert!(!exceeded(&conduct));
    }

    #[test]
    fn so_many_messages_may_be_late() {
        let conduct = conduct(20, 0);
        conduct.record_late_message();
        conduct.record_late_message();
        assert!(!exceeded(&conduct));
        conduct.record_late_message();
        assert!(exceeded(&conduct));
    }
}
