//! Counts the failures of the calls to a server, and ejects a server whose calls fail. An ejected server gets no calls until
//! it answers a probe.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::client::error::CallError;
use crate::client::retry::backoff::Backoff;
use crate::codec::error_code::code;
use crate::transport::ConnectionError;

/// Settings for the ejection and the probes of a server.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Ejection {
    /// Number of consecutive failures after which a server is ejected; 0 disables ejection.
    pub(in crate::client) after: u32,
    pub(in crate::client) probes: Backoff,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            after: 5,
            probes: Backoff {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(30),
            },
        }
    }
}

/// The consecutive failures of one server.
#[derive(Debug)]
pub(in crate::client) struct OutlierDetector {
    pub(in crate::client) ejection: Ejection,
    /// Number of consecutive failures.
    failures: AtomicU32,
    ejected: Notify,
}

impl OutlierDetector {
    pub(in crate::client) fn new(ejection: Ejection) -> Self {
        Self {
            ejection,
            failures: AtomicU32::new(0),
            ejected: Notify::new(),
        }
    }

    /// Records how a call ended.
    pub(in crate::client) fn record<E>(&self, error: Option<&CallError<E>>) {
        match error {
            Some(CallError::Timeout) => self.record_failure(),
            Some(CallError::Remote(error)) if error.code() == code::INTERNAL_ERROR => {
                self.record_failure();
            }
            // A lost connection is counted once by `record_loss`, not for each of its calls.
            // A call that waited for a limit, or whose reply this client holds back, says nothing of whether the server works.
            Some(
                CallError::Connection { .. }
                | CallError::Cancelled
                | CallError::Encode(_)
                | CallError::TimeoutAtLimit(_)
                | CallError::TimeoutBehindItems(_),
            ) => {}
            _ => self.record_success(),
        }
    }

    /// Records the end of a connection.
    pub(in crate::client) fn record_loss(&self, lost: &ConnectionError) {
        if !lost.is_drained() {
            self.record_failure();
        }
    }

    fn record_failure(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures == self.ejection.after {
            self.ejected.notify_one();
        }
    }

    pub(in crate::client) fn record_success(&self) {
        // There are few failures, and a load costs less than a store.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until the number of consecutive failures reaches the limit for ejection.
    pub(in crate::client) async fn has_too_many_failures(&self) {
        // The notification may be older than the last success, so the number is checked again.
        loop {
            self.ejected.notified().await;
            if self.failures.load(Ordering::Relaxed) >= self.ejection.after {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::client::error::Execution;
    use crate::codec::error::ErrorObject;

    type Error = CallError<&'static str>;

    /// Returns `true` if a server is ejected after `record` was called three times.
    fn ejects(record: impl Fn(&OutlierDetector)) -> bool {
        let detector = OutlierDetector::new(Ejection {
            after: 3,
            ..Ejection::default()
        });
        (0..3).for_each(|_| record(&detector));
        detector.has_too_many_failures().now_or_never().is_some()
    }

    fn remote(code: i64) -> Error {
        CallError::Remote(ErrorObject::new(code, ""))
    }

    #[test]
    fn timeouts_internal_errors_and_lost_connections_are_failures() {
        assert!(ejects(|detector| detector.record(Some(&Error::Timeout))));
        assert!(ejects(
            |detector| detector.record(Some(&remote(code::INTERNAL_ERROR)))
        ));
        assert!(ejects(
            |detector| detector.record_loss(&ConnectionError::Reset)
        ));
        assert!(!ejects(
            |detector| detector.record_loss(&ConnectionError::drained(""))
        ));
    }

    #[test]
    fn any_other_reply_ends_a_row_of_failures() {
        let answers = [
            None,
            Some(Error::Application("no")),
            Some(remote(code::INVALID_PARAMS)),
            Some(remote(code::TOO_MANY_CALLS)),
            Some(Error::Decode(String::new())),
        ];
        for answer in answers {
            let record = |detector: &OutlierDetector| {
                detector.record(Some(&Error::Timeout));
                detector.record(answer.as_ref());
            };
            assert!(!ejects(record), "{answer:?}");
        }
    }

    #[test]
    fn success_after_enough_failures_prevents_ejection() {
        assert!(!ejects(|detector| {
            (0..3).for_each(|_| detector.record(Some(&Error::Timeout)));
            detector.record::<()>(None);
        }));
    }

    #[test]
    fn errors_that_do_not_concern_the_server_are_ignored() {
        let lost = Error::Connection {
            execution: Execution::MayHaveExecuted,
            retries_exhausted: false,
            reason: ConnectionError::Reset,
        };
        for end in [lost, Error::Cancelled, Error::Encode(String::new())] {
            assert!(!ejects(|detector| detector.record(Some(&end))), "{end:?}");
            let record = |detector: &OutlierDetector| {
                detector.record(Some(&Error::Timeout));
                detector.record(Some(&end));
            };
            assert!(ejects(record), "{end:?}");
        }
    }
}
