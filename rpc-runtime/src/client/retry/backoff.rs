//! Exponential backoff.

use std::time::Duration;

/// Exponential backoff with full jitter: a random time up to a bound that doubles with each failure. So clients that failed
/// at the same moment do not reconnect at the same moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Backoff {
    /// The bound after the first failure.
    pub(in crate::client) initial: Duration,
    /// The maximum of the bound.
    pub(in crate::client) max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// Returns the delay after this number of consecutive failures.
    pub(in crate::client) fn delay(&self, failures: u32) -> Duration {
        self.bound(failures).mul_f64(fastrand::f64())
    }

    /// Returns the longest delay after this number of consecutive failures.
    pub(in crate::client) fn bound(&self, failures: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.initial.saturating_mul(doublings).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_after_each_failure_doubles_up_to_the_maximum() {
        let backoff = Backoff::default();
        let bounds = [1, 2, 3, 7, 8, 1000, u32::MAX].map(|failures| backoff.bound(failures));
        let expected = [50, 100, 200, 3200, 5000, 5000, 5000].map(Duration::from_millis);
        assert_eq!(bounds, expected);
    }

    #[test]
    fn delays_are_spread_from_zero_to_the_bound() {
        let backoff = Backoff::default();
        let delays: Vec<_> = (0..1000).map(|_| backoff.delay(2)).collect();
        assert!(
            delays
                .iter()
                .all(|delay| *delay <= Duration::from_millis(100))
        );
        assert!(
            delays
                .iter()
                .any(|delay| *delay < Duration::from_millis(20))
        );
        assert!(
            delays
                .iter()
                .any(|delay| *delay > Duration::from_millis(80))
        );
    }

    #[test]
    fn delay_with_extreme_bounds_does_not_overflow() {
        let endless = Backoff {
            initial: Duration::MAX,
            max: Duration::MAX,
        };
        assert!(endless.delay(u32::MAX) <= Duration::MAX);
        let none = Backoff {
            initial: Duration::ZERO,
            max: Duration::ZERO,
        };
        assert_eq!(none.delay(5), Duration::ZERO);
    }
}
