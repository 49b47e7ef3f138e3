//! Counts the attempts of a call, and decides whether a retry is allowed.

use crate::client::error::Execution;

/// Maximum number of attempts of a call that was certainly not executed.
const MAX_ATTEMPTS: u32 = 5;

/// Maximum number of attempts of a call that may have been executed.
const MAX_UNSURE_ATTEMPTS: u32 = 3;

/// The attempts of a call.
#[derive(Debug, Default)]
pub(in crate::client) struct Attempts {
    sent: u32,
    /// `true` if one of the attempts may have been executed.
    may_have_run: bool,
}

/// The permission to retry a call, and its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Retry {
    No,
    /// The retry is sent at once.
    Free,
    /// The retry waits for a backoff, and spends a token of the client.
    Paid,
}

impl Attempts {
    pub(in crate::client) fn sent(&self) -> u32 {
        self.sent
    }

    pub(in crate::client) fn record_sent(&mut self) {
        self.sent += 1;
    }

    /// Records that an attempt ended without a reply. Returns the execution status of the call as a whole.
    pub(in crate::client) fn record_lost(&mut self, execution: Execution) -> Execution {
        self.may_have_run |= execution == Execution::MayHaveExecuted;
        match self.may_have_run {
            true => Execution::MayHaveExecuted,
            false => execution,
        }
    }

    /// Returns the permission to retry a call with this execution status. `has_other` returns `true` if the call can go to
    /// another server.
    pub(in crate::client) fn retry(
        &self,
        execution: Execution,
        is_idempotent: bool,
        has_other: impl FnOnce() -> bool,
    ) -> Retry {
        let is_unsure = execution == Execution::MayHaveExecuted;
        let is_allowed = match is_unsure {
            true => is_idempotent && self.sent < MAX_UNSURE_ATTEMPTS,
            false => self.sent < MAX_ATTEMPTS,
        };
        match is_allowed {
            false => Retry::No,
            true if self.sent <= 1 && (!is_unsure || has_other()) => Retry::Free,
            true => Retry::Paid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all retries of a call whose attempts all end in this way.
    fn retries(execution: Execution, is_idempotent: bool, has_other: bool) -> Vec<Retry> {
        let mut attempts = Attempts::default();
        let retries = std::iter::from_fn(|| {
            attempts.record_sent();
            let execution = attempts.record_lost(execution);
            let retry = attempts.retry(execution, is_idempotent, || has_other);
            (retry != Retry::No).then_some(retry)
        });
        retries.collect()
    }

    #[test]
    fn call_that_was_not_executed_is_sent_five_times() {
        let expected = [Retry::Free, Retry::Paid, Retry::Paid, Retry::Paid];
        for execution in [Execution::NotSent, Execution::NotExecuted] {
            for (is_idempotent, has_other) in [(false, false), (true, false), (false, true)] {
                assert_eq!(retries(execution, is_idempotent, has_other), expected);
            }
        }
    }

    #[test]
    fn call_that_may_have_been_executed_is_sent_three_times_if_it_is_idempotent() {
        let unsure = Execution::MayHaveExecuted;
        assert_eq!(retries(unsure, true, false), [Retry::Paid, Retry::Paid]);
        assert_eq!(retries(unsure, true, true), [Retry::Free, Retry::Paid]);
        assert_eq!(retries(unsure, false, true), []);
    }

    #[test]
    fn call_of_which_one_attempt_may_have_been_executed_may_have_been_executed() {
        let mut attempts = Attempts::default();
        attempts.record_sent();
        assert_eq!(
            attempts.record_lost(Execution::NotExecuted),
            Execution::NotExecuted
        );
        attempts.record_sent();
        let unsure = attempts.record_lost(Execution::MayHaveExecuted);
        assert_eq!(unsure, Execution::MayHaveExecuted);
        attempts.record_sent();
        assert_eq!(
            attempts.record_lost(Execution::NotSent),
            Execution::MayHaveExecuted
        );
    }
}
