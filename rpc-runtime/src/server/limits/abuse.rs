//! How a client behaves, and when it is enough.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::limits::Limits;

/// How many cancellations go with a call that ends by itself.
const FOR_EACH_CALL: f64 = 10.0;

/// What a client does that costs the server more than itself.
#[derive(Debug)]
pub(in crate::server) struct AbuseLimits {
    limits: Limits,
    late_messages: AtomicUsize,
    /// InFlight that ended by themselves since the last cancellation.
    ended: AtomicUsize,
    cancelled: Mutex<Cancelled>,
    enough: Notify,
}

/// Cancellations that nothing has made up for.
#[derive(Debug)]
struct Cancelled {
    open: f64,
    last: Instant,
}

impl AbuseLimits {
    pub(in crate::server) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            late_messages: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            cancelled: Mutex::new(Cancelled {
                open: 0.0,
                last: Instant::now(),
            }),
            enough: Notify::new(),
        }
    }

    /// A stream was given up in the middle of a message.
    pub(in crate::server) fn message_was_late(&self) {
        if self.late_messages.fetch_add(1, Ordering::Relaxed) >= self.limits.late_messages {
            self.enough.notify_one();
        }
    }

    /// A call ended by itself.
    pub(in crate::server) fn call_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// A call was stopped, or a stream given up, before its end.
    pub(in crate::server) fn cancelled(&self) {
        let ended = self.ended.swap(0, Ordering::Relaxed) as f64;
        let now = Instant::now();
        let mut cancelled = self
            .cancelled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(cancelled.last).as_secs_f64();
        let made_up = ended * FOR_EACH_CALL + seconds * self.limits.cancellations_per_second as f64;
        cancelled.open = (cancelled.open - made_up).max(0.0) + 1.0;
        cancelled.last = now;
        if cancelled.open > self.limits.cancellations as f64 {
            self.enough.notify_one();
        }
    }

    /// Resolves when the connection is to be closed.
    pub(in crate::server) async fn is_enough(&self) {
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

    fn is_enough(conduct: &AbuseLimits) -> bool {
        let enough = pin!(conduct.is_enough());
        enough
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    fn cancel(conduct: &AbuseLimits, times: usize) {
        (0..times).for_each(|_| conduct.cancelled());
    }

    #[test]
    fn so_many_cancellations_are_free() {
        let conduct = conduct(20, 0);
        cancel(&conduct, 20);
        assert!(!is_enough(&conduct));
        cancel(&conduct, 1);
        assert!(is_enough(&conduct));
    }

    #[test]
    fn a_call_that_ends_makes_up_for_ten() {
        let conduct = conduct(20, 0);
        for _ in 0..100 {
            cancel(&conduct, 10);
            conduct.call_ended();
        }
        assert!(!is_enough(&conduct));
        // What is not used up is not saved.
        cancel(&conduct, 20);
        assert!(!is_enough(&conduct));
        cancel(&conduct, 1);
        assert!(is_enough(&conduct));
    }

    #[test]
    fn time_makes_up_for_some() {
        let conduct = conduct(20, 1_000_000_000);
        cancel(&conduct, 1000);
        assert!(!is_enough(&conduct));
    }

    #[test]
    fn so_many_messages_may_be_late() {
        let conduct = conduct(20, 0);
        conduct.message_was_late();
        conduct.message_was_late();
        assert!(!is_enough(&conduct));
        conduct.message_was_late();
        assert!(is_enough(&conduct));
    }
}
