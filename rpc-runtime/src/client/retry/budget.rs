//! Limits the retries of a client, so that they do not overload a failing server.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::event::{Event, EventHook};
use crate::event_limit::EventLimit;
use crate::sync::{Mutex, lock};

/// One token, in the units in which tokens are earned.
const TOKEN: u32 = 10;

/// The initial and maximum balance.
const FULL: u32 = 10 * TOKEN;

/// A bucket of ten tokens. A retry takes a token, and a reply returns a tenth of a token. The numbers are those of
/// [gRPC](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs).
#[derive(Debug)]
pub(in crate::client) struct RetryBudget {
    balance: AtomicU32,
    /// Counts the calls that were not retried, since the balance was too low.
    refused: Mutex<EventLimit>,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            balance: AtomicU32::new(FULL),
            refused: Mutex::default(),
        }
    }
}

impl RetryBudget {
    /// Takes a token. Returns `false` if there is none.
    pub(in crate::client) fn spend(&self) -> bool {
        let spent = |tokens: u32| tokens.checked_sub(TOKEN);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.balance.fetch_update(set, get, spent).is_ok()
    }

    /// Reports that a call was not retried, because there is no token.
    #[cold]
    pub(in crate::client) fn report(&self, events: &EventHook) {
        events.emit(&Event::RetryBudgetExhausted {});
        let mut refused = lock(&self.refused);
        let Some(calls) = refused.add(Instant::now()) else {
            return;
        };
        let total = refused.total;
        drop(refused);
        tracing::warn!(target: "rpc_runtime::client", calls, total, "calls not retried");
    }

    /// Records a reply.
    pub(in crate::client) fn earn(&self) {
        // The bucket is usually full, and a load costs less than a store.
        if self.balance.load(Ordering::Relaxed) < FULL {
            let earned = |tokens: u32| (tokens < FULL).then_some(tokens + 1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = self.balance.fetch_update(set, get, earned);
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
