//! Records the outcomes of calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rpc_runtime::{CallError, ErrorObject};

use crate::escape::truncated;

/// The highest latency that the histogram distinguishes, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// The outcomes of the calls of one connection, or of all connections.
#[derive(Debug)]
pub(super) struct Record {
    /// The latencies of calls that were answered with a result, in nanoseconds.
    pub(super) latencies: Histogram<u64>,
    pub(super) failures: BTreeMap<Kind, Failures>,
    /// The time when the first call was due, and when the last one ended.
    pub(super) span: Option<(Instant, Instant)>,
}

/// The reason why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Timeout,
    Connection,
    Unusable,
    Answered(i64),
    /// An error with any further code.
    AnsweredOtherwise,
}

/// The maximum number of kinds that are distinguished, because a server may answer with any number of codes.
const KINDS: usize = 50;

/// The number of bytes kept of a failure's message.
const SAID: usize = 1000;

#[derive(Debug)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// The message of the first such failure.
    pub(super) first: String,
}

impl Record {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, HOUR, 3);
        Self {
            latencies: latencies.expect("valid bounds"),
            failures: BTreeMap::new(),
            span: None,
        }
    }

    pub(super) fn add<T>(&mut self, due: Instant, result: Result<T, CallError<ErrorObject>>) {
        let now = Instant::now();
        let (first, last) = self.span.unwrap_or((due, now));
        self.span = Some((first.min(due), last.max(now)));
        match result {
            Ok(_) => self.latencies.saturating_record(nanoseconds(now - due)),
            Err(error) => self.fail(kind(&error), 1, || error.to_string()),
        }
    }

    fn fail(&mut self, kind: Kind, count: u64, why: impl FnOnce() -> String) {
        let is_new = !self.failures.contains_key(&kind);
        let kind = match kind {
            Kind::Answered(_) if is_new && self.failures.len() >= KINDS => Kind::AnsweredOtherwise,
            kind => kind,
        };
        let failures = self.failures.entry(kind);
        let failures = failures.or_insert_with(|| Failures {
            count: 0,
            first: truncated(&why(), SAID).0.to_owned(),
        });
        failures.count += count;
    }

    /// Adds the outcomes of another connection's calls.
    pub(super) fn merge(&mut self, other: Self) {
        let added = self.latencies.add(other.latencies);
        debug_assert!(added.is_ok(), "the histogram resizes itself");
        for (kind, failures) in other.failures {
            self.fail(kind, failures.count, || failures.first);
        }
        self.span = match (self.span, other.span) {
            (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
            (one, other) => one.or(other),
        };
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.span
            .map_or(Duration::ZERO, |(first, last)| last - first)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn kind(error: &CallError<ErrorObject>) -> Kind {
    match error {
        CallError::Timeout | CallError::TimeoutAtLimit(_) => Kind::Timeout,
        CallError::Connection { .. } => Kind::Connection,
        CallError::Application(error) | CallError::Remote(error) => Kind::Answered(error.code()),
        _ => Kind::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_when_the_call_was_due() {
        let mut record = Record::new();
        let late = Duration::from_millis(250);
        record.add(Instant::now() - late, Ok(()));
        assert!(
            record.latencies.min() >= 249_000_000,
            "{}",
            record.latencies.min()
        );
        assert!(record.elapsed() >= late);
    }

    #[test]
    fn failures_are_counted_by_kind_and_are_no_latencies() {
        let (mut one, mut other) = (Record::new(), Record::new());
        let refused = || CallError::Application(ErrorObject::new(7, "no"));
        one.add::<()>(Instant::now(), Err(refused()));
        other.add::<()>(Instant::now(), Err(refused()));
        other.add::<()>(Instant::now(), Err(CallError::Timeout));
        other.add(Instant::now(), Ok(()));
        one.merge(other);
        let counts: Vec<_> = one
            .failures
            .iter()
            .map(|(kind, failures)| (*kind, failures.count))
            .collect();
        assert_eq!(counts, [(Kind::Timeout, 1), (Kind::Answered(7), 2)]);
        assert_eq!((one.latencies.len(), one.failed()), (1, 3));
    }

    #[test]
    fn failures_of_any_number_of_codes_are_counted_in_a_limited_number_of_kinds() {
        let (mut one, mut other) = (Record::new(), Record::new());
        for code in 0..1000 {
            let long = || CallError::Application(ErrorObject::new(code, "é".repeat(SAID)));
            one.add::<()>(Instant::now(), Err(long()));
            other.add::<()>(Instant::now(), Err(long()));
        }
        one.merge(other);
        assert_eq!((one.failures.len(), one.failed()), (KINDS + 1, 2000));
        assert!(
            one.failures
                .values()
                .all(|failures| failures.first.len() <= SAID)
        );
    }
}
