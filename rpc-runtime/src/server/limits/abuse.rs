//! Limits work that costs the server more than the client: cancellations, invalid messages, streams without messages, and
//! messages that time out.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::codec::error_code::Setting;
use crate::limits::Limits;
use crate::sync::{Mutex, lock};

/// Amount of wasted work that is offset by a call that ends by itself.
const FOR_EACH_ENDED: usize = 10;

/// Amount of wasted work that is offset by a call that ends at its deadline, since its client may cancel it at the same
/// time.
const FOR_EACH_TIMED_OUT: usize = 1;

/// Counts the wasted work and the timed-out messages of a connection.
#[derive(Debug)]
pub(in crate::server) struct AbuseLimits {
    max_timed_out_messages: usize,
    max_wasted: f64,
    wasted_per_second: f64,
    timed_out_messages: AtomicUsize,
    /// Amount earned by calls since work was last wasted.
    credit: AtomicUsize,
    wasted: Mutex<NetWasted>,
    exceeded_notify: Notify,
}

/// Wasted work minus the amount that calls and elapsed time have offset.
#[derive(Debug)]
struct NetWasted {
    net: f64,
    last: Instant,
}

impl AbuseLimits {
    pub(in crate::server) fn new(limits: &Limits) -> Self {
        Self {
            max_timed_out_messages: limits.max_timed_out_messages,
            max_wasted: limits.max_net_cancellations as f64,
            wasted_per_second: limits.cancellations_offset_per_second as f64,
            timed_out_messages: AtomicUsize::new(0),
            credit: AtomicUsize::new(0),
            wasted: Mutex::new(NetWasted {
                net: 0.0,
                last: Instant::now(),
            }),
            exceeded_notify: Notify::new(),
        }
    }

    /// Records a stream that timed out within a message.
    pub(in crate::server) fn record_timed_out_message(&self) {
        if self.timed_out_messages.fetch_add(1, Ordering::Relaxed) >= self.max_timed_out_messages {
            self.exceeded_notify.notify_one();
        }
    }

    /// Records a call that ended by itself.
    pub(in crate::server) fn record_ended(&self) {
        self.credit.fetch_add(FOR_EACH_ENDED, Ordering::Relaxed);
    }

    /// Records a call that ended at its deadline.
    #[cold]
    pub(in crate::server) fn record_timed_out_call(&self) {
        self.credit.fetch_add(FOR_EACH_TIMED_OUT, Ordering::Relaxed);
    }

    /// Records work that costs the server more than the client. This is a cancellation, whether or not it finds its call; a
    /// stream that was reset before its end or had no message; or an invalid message.
    #[cold]
    pub(in crate::server) fn record_wasted(&self) {
        let credit = self.credit.swap(0, Ordering::Relaxed) as f64;
        let now = Instant::now();
        let mut wasted = lock(&self.wasted);
        let seconds = now.saturating_duration_since(wasted.last).as_secs_f64();
        let credit = credit + seconds * self.wasted_per_second;
        wasted.net = (wasted.net - credit).max(0.0) + 1.0;
        wasted.last = now;
        if wasted.net > self.max_wasted {
            self.exceeded_notify.notify_one();
        }
    }

    /// Resolves to the limit when the client has exceeded one. The connection is then closed.
    pub(in crate::server) async fn exceeded(&self) -> Setting {
        self.exceeded_notify.notified().await;
        match self.timed_out_messages.load(Ordering::Relaxed) > self.max_timed_out_messages {
            true => Setting::new("max_timed_out_messages", self.max_timed_out_messages),
            false => Setting::new("max_net_cancellations", self.max_wasted as usize),
        }
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
            max_net_cancellations: cancellations,
            cancellations_offset_per_second: cancellations_per_second,
            max_timed_out_messages: 2,
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
        (0..times).for_each(|_| abuse_limits.record_wasted());
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
    fn call_that_times_out_offsets_its_cancellation() {
        let abuse_limits = abuse_limits(20, 0);
        for _ in 0..1000 {
            abuse_limits.record_timed_out_call();
            cancel(&abuse_limits, 1);
        }
        assert!(!exceeded(&abuse_limits));
        cancel(&abuse_limits, 20);
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
