//! How many calls a client may make again: few, when many fail, so that retries do not drown a server in trouble.

use std::sync::atomic::{AtomicU32, Ordering};

/// A token, in the parts that it is saved in.
const TOKEN: u32 = 10;

/// What a client starts with, and no more can be saved.
const FULL: u32 = 10 * TOKEN;

/// A bucket of ten tokens. A retry takes one, an answer puts a tenth back. The figures are those of
/// [gRPC](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs).
#[derive(Debug)]
pub(in crate::client) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(FULL))
    }
}

impl RetryBudget {
    /// Takes a token, if there is one.
    pub(in crate::client) fn spend(&self) -> bool {
        let spent = |tokens: u32| tokens.checked_sub(TOKEN);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, get, spent).is_ok()
    }

    /// An answer came.
    pub(in crate::client) fn earn(&self) {
        // Nearly always the bucket is full, and looking costs less than writing.
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
    fn ten_retries_and_one_more_for_every_ten_answers() {
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
