//! Limits the retries of a client, so that they do not overload a failing server.

use std::sync::atomic::{AtomicU32, Ordering};

/// One token, in the units in which tokens are earned.
const TOKEN: u32 = 10;

/// The initial and maximum balance.
const FULL: u32 = 10 * TOKEN;

/// A bucket of ten tokens. A retry takes a token, and a reply returns a tenth of a token. The numbers are those of
/// [gRPC](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs).
#[derive(Debug)]
pub(in crate::client) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl RetryBudget {
    /// Takes a token. Returns `false` if there is none.
    pub(in crate::client) fn spend(&self) -> bool {
        let spent = |tokens: u32| tokens.checked_sub(TOKEN);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, get, spent).is_ok()
    }

    /// Records a reply.
    pub(in crate::client) fn earn(&self) {
        // The bucket is usually full, and a load costs less than a store.
        if self.0.load(Ordering::Relaxed) < FULL {
            let earned = |tokens: u32| (tokens < FULL).then_some(tokens + 1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = self.0.fetch_update(set, get, earned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_allows_ten_retries_and_one_for_every_ten_replies() {
        let budget = RetryBudget::default();
        let spend = |times: usize| (0..times).filter(|_| budget.spend()).count();
        let earn = |times: usize| (0..times).for_each(|_| budget.earn());
        assert_eq!(spend(20), 10);
        earn(9);
        assert_eq!(spend(20), 0);
        earn(21);
        assert_eq!(spend(20), 3);
        earn(10_000);
        assert_eq!(spend(20), 10);
    }
}
