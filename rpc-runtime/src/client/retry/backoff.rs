//! How long to wait before something is tried again.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Exponential backoff with full jitter: any time from none up to a bound that doubles with each failure. Many that
/// failed at the same moment do not come back at the same moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Backoff {
    /// The bound after the first failure.
    pub(in crate::client) initial: Duration,
    /// What the bound grows to.
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
    /// How long to wait after so many failures in a row.
    pub(in crate::client) fn delay(&self, failures: u32) -> Duration {
        self.bound(failures).mul_f64(fraction())
    }

    fn bound(&self, failures: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.initial.saturating_mul(doublings).min(self.max)
    }
}

/// A random number of 0 to 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness everybody waits as long as anybody.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_until_it_is_reached() {
        let backoff = Backoff::default();
        let bounds = [1, 2, 3, 7, 8, 1000, u32::MAX].map(|failures| backoff.bound(failures));
        let expected = [50, 100, 200, 3200, 5000, 5000, 5000].map(Duration::from_millis);
        assert_eq!(bounds, expected);
    }

    #[test]
    fn delays_are_spread_from_nothing_to_the_bound() {
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
    fn absurd_bounds_are_borne() {
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
