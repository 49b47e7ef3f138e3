//! Whether calls to a server come to something. One whose calls fail gets no more of them, until it answers again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::client::error::CallError;
use crate::client::reconnect::ConnectionSlot;
use crate::client::retry::backoff::Backoff;
use crate::codec::error_code::code;
use crate::transport::ConnectionLost;

/// How long an answer to a probe may take.
const PROBE: Duration = Duration::from_secs(5);

/// When a server is left out, and when it is asked whether it can come back.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Ejection {
    /// After so many failures in a row; never after none.
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

#[derive(Debug)]
pub(in crate::client) struct OutlierDetector {
    ejection: Ejection,
    /// How many in a row.
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

    /// Takes what a call came to for a sign.
    pub(in crate::client) fn record<E>(&self, error: Option<&CallError<E>>) {
        match error {
            Some(CallError::Timeout) => self.fail(),
            Some(CallError::Remote(error)) if error.code() == code::INTERNAL_ERROR => self.fail(),
            // A connection that is lost counts once, and not for each of its calls.
            Some(CallError::Connection { .. } | CallError::Cancelled | CallError::Encode(_)) => {}
            _ => self.succeed(),
        }
    }

    /// Takes the end of a connection for one.
    pub(in crate::client) fn record_loss(&self, lost: &ConnectionLost) {
        if !lost.is_drained() {
            self.fail();
        }
    }

    fn fail(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures == self.ejection.after {
            self.ejected.notify_one();
        }
    }

    fn succeed(&self) {
        // Nearly always there are none, and looking costs less than writing.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until there are so many in a row that the server is left out.
    async fn too_many_failures(&self) {
        // There may have been, before it was taken back or answered.
        loop {
            self.ejected.notified().await;
            if self.failures.load(Ordering::Relaxed) >= self.ejection.after {
                return;
            }
        }
    }

    /// Leaves the server out when its calls fail, and takes it back when it answers. `None`: the client is no more.
    pub(in crate::client) async fn watch(&self, slot: &ConnectionSlot) -> Option<()> {
        let Ejection { probes, .. } = self.ejection;
        let mut ejections = 0;
        loop {
            let since = Instant::now();
            self.too_many_failures().await;
            // One that answers probes and nothing else is not taken back all the time.
            if since.elapsed() > probes.max {
                ejections = 0;
            }
            slot.set_ejected(true)?;
            loop {
                ejections += 1;
                sleep(probes.delay(ejections)).await;
                if answers(slot).await? {
                    break;
                }
            }
            self.failures.store(0, Ordering::Relaxed);
            slot.set_ejected(false)?;
        }
    }
}

/// Whether the server answers `rpc.ping`, be it with an error because it does not know it.
async fn answers(slot: &ConnectionSlot) -> Option<bool> {
    let Some(connection) = slot.connection()? else {
        return Some(false);
    };
    let ping = Client::sharing(connection).call::<(), _>("rpc.ping", &());
    let answer = ping.timeout(PROBE).no_retry().await;
    Some(match answer {
        Ok(()) => true,
        Err(CallError::Remote(error)) => error.code() == code::METHOD_NOT_FOUND,
        Err(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::client::error::Fate;
    use crate::codec::error::ErrorObject;

    type Error = CallError<&'static str>;

    /// Whether three times `ends` are too much.
    fn ejects(ends: impl Fn(&OutlierDetector)) -> bool {
        let health = OutlierDetector::new(Ejection {
            after: 3,
            ..Ejection::default()
        });
        (0..3).for_each(|_| ends(&health));
        health.too_many_failures().now_or_never().is_some()
    }

    fn remote(code: i64) -> Error {
        CallError::Remote(ErrorObject::new(code, ""))
    }

    #[test]
    fn timeouts_internal_errors_and_lost_connections_count() {
        assert!(ejects(|health| health.record(Some(&Error::Timeout))));
        assert!(ejects(
            |health| health.record(Some(&remote(code::INTERNAL_ERROR)))
        ));
        assert!(ejects(|health| health.record_loss(&ConnectionLost::Reset)));
        assert!(!ejects(
            |health| health.record_loss(&ConnectionLost::drained(""))
        ));
    }

    #[test]
    fn answers_of_any_other_kind_end_a_row() {
        let answers = [
            None,
            Some(Error::Application("no")),
            Some(remote(code::INVALID_PARAMS)),
            Some(remote(code::TOO_MANY_CALLS)),
            Some(Error::Decode(String::new())),
        ];
        for answer in answers {
            let ends = |health: &OutlierDetector| {
                health.record(Some(&Error::Timeout));
                health.record(answer.as_ref());
            };
            assert!(!ejects(ends), "{answer:?}");
        }
    }

    #[test]
    fn a_row_that_an_answer_has_ended_is_forgotten() {
        assert!(!ejects(|health| {
            (0..3).for_each(|_| health.record(Some(&Error::Timeout)));
            health.record::<()>(None);
        }));
    }

    #[test]
    fn what_says_nothing_of_the_server_changes_nothing() {
        let lost = Error::Connection {
            fate: Fate::MayHaveExecuted,
            reason: ConnectionLost::Reset,
        };
        for end in [lost, Error::Cancelled, Error::Encode(String::new())] {
            assert!(!ejects(|health| health.record(Some(&end))), "{end:?}");
            let ends = |health: &OutlierDetector| {
                health.record(Some(&Error::Timeout));
                health.record(Some(&end));
            };
            assert!(ejects(ends), "{end:?}");
        }
    }
}
