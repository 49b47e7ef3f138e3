//! Limits log events that a peer can cause to one in an interval, usually a second.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two events of a kind, unless another one is given.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time after which a call that waits for a limit or a stream is logged. Shorter waits are usual when calls arrive in
/// bursts.
pub(crate) const LOGGED_WAIT: Duration = INTERVAL;

/// Counts the occurrences of one kind of event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLimit {
    /// Number of all occurrences.
    pub(crate) total: u64,
    /// The total in the last event, and the time of that event.
    logged: u64,
    logged_at: Option<Instant>,
    interval: Duration,
}

impl Default for EventLimit {
    fn default() -> Self {
        Self::every(INTERVAL)
    }
}

impl EventLimit {
    /// Creates a limit of one event in each interval.
    pub(crate) fn every(interval: Duration) -> Self {
        Self {
            total: 0,
            logged: 0,
            logged_at: None,
            interval,
        }
    }

    /// Counts an occurrence. Returns the number of occurrences since the last event, if another event is due.
    pub(crate) fn add(&mut self, now: Instant) -> Option<u64> {
        self.total += 1;
        let is_due = self
            .logged_at
            .is_none_or(|at| now.saturating_duration_since(at) >= self.interval);
        is_due.then(|| {
            let since = self.total - self.logged;
            self.logged = self.total;
            self.logged_at = Some(now);
            since
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_within_a_second_are_logged_once_with_their_number() {
        let mut limit = EventLimit::default();
        let start = Instant::now();
        assert_eq!(limit.add(start), Some(1));
        for _ in 0..99 {
            assert_eq!(limit.add(start + INTERVAL / 2), None);
        }
        assert_eq!(limit.add(start + INTERVAL), Some(100));
        assert_eq!(limit.add(start + INTERVAL), None);
        assert_eq!(limit.total, 102);
    }
}
