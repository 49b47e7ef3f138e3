//! Reports connections, and calls that wait for a limit or are rejected at one, as events and in the log.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::event::{CloseReason, Event, EventHook, Limit};
use crate::event_limit::EventLimit;
use crate::memory::{IN_TOTAL, PER_CONNECTION};
use crate::sync::{Mutex, lock};

/// The name of the idle timeout. The sides of a connection use the shorter of their settings.
const IDLE_TIMEOUT: &str = "TransportSettings::idle_timeout";

/// An open connection. Reports the end of the connection when it is dropped.
pub(super) struct OpenReport<'s> {
    events: &'s EventHook,
    peer: SocketAddr,
    since: Instant,
    pub(super) reason: CloseReason,
}

impl<'s> OpenReport<'s> {
    /// Reports that a connection is open. Returns `None` if events are not observed.
    pub(super) fn new(events: &'s EventHook, peer: Option<SocketAddr>) -> Option<Self> {
        let peer = peer.filter(|_| events.is_set())?;
        events.emit(&Event::ConnectionOpened { peer });
        Some(Self {
            events,
            peer,
            since: Instant::now(),
            // A connection that is dropped without a reason ends with its server.
            reason: CloseReason::Shutdown,
        })
    }
}

impl Drop for OpenReport<'_> {
    fn drop(&mut self) {
        self.events.emit(&Event::ConnectionClosed {
            peer: self.peer,
            reason: self.reason,
            lasted: self.since.elapsed(),
        });
    }
}

/// Reports the calls of a server that wait for a limit or are rejected at one.
#[derive(Debug, Default)]
pub(super) struct LimitReports {
    events: EventHook,
    waits: EventCounts,
    rejections: EventCounts,
    timeouts: EventCounts,
    closed: EventCounts,
}

/// Counts the log events of each limit, by its name.
type EventCounts = Mutex<Vec<(&'static str, EventLimit)>>;

impl LimitReports {
    pub(super) fn new(events: EventHook) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    pub(super) fn events(&self) -> &EventHook {
        &self.events
    }

    /// Reports that a call waits for a limit.
    pub(super) fn begin_wait(&self, limit: Limit) -> WaitReport<'_> {
        self.events.emit(&Event::CallWaitStarted { limit });
        WaitReport {
            reports: self,
            limit,
            since: Instant::now(),
            has_started: false,
        }
    }

    /// Reports that a call was answered with the error of a limit.
    #[cold]
    pub(super) fn rejected(&self, peer: Option<SocketAddr>, limit: Limit, code: i64) {
        self.events.emit(&Event::CallRejected { limit, code });
        // Messages without room have log events of their own.
        if [PER_CONNECTION, IN_TOTAL].contains(&limit.name) {
            return;
        }
        if let Some((calls, total)) = count(&self.rejections, limit.name) {
            let Limit { name, value, .. } = limit;
            tracing::warn!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display),
                limit = name, setting = value, code, calls, total, "calls rejected at a limit"
            );
        }
    }

    /// Reports that a stream was reset at a limit of time.
    #[cold]
    pub(super) fn stream_timed_out(&self, peer: Option<SocketAddr>, limit: Limit) {
        self.events.emit(&Event::StreamTimedOut { limit });
        if let Some((streams, total)) = count(&self.timeouts, limit.name) {
            let Limit { name, value, .. } = limit;
            tracing::warn!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display), limit = name, setting = value, streams, total, "streams timed out"
            );
        }
    }

    /// Logs that a connection ended at the idle timeout.
    #[cold]
    pub(super) fn connection_timed_out(&self, peer: Option<SocketAddr>) {
        if let Some((connections, total)) = count(&self.closed, IDLE_TIMEOUT) {
            tracing::info!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display), limit = IDLE_TIMEOUT, connections, total, "connections timed out"
            );
        }
    }

    /// Logs that a connection is closed because of the work that its client wasted.
    #[cold]
    pub(super) fn excessive_load(&self, peer: Option<SocketAddr>, limit: Limit) {
        if let Some((connections, total)) = count(&self.closed, limit.name) {
            let Limit { name, value, .. } = limit;
            tracing::warn!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display), limit = name, setting = value, connections, total, "connections closed for excessive load"
            );
        }
    }
}

/// Counts an occurrence. Returns the number since the last log event and in total, if another log event is due.
fn count(counts: &EventCounts, name: &'static str) -> Option<(u64, u64)> {
    let mut counts = lock(counts);
    let index = counts.iter().position(|(of, _)| *of == name);
    let index = index.unwrap_or_else(|| {
        counts.push((name, EventLimit::default()));
        counts.len() - 1
    });
    let (_, count) = counts.get_mut(index)?;
    let since = count.add(Instant::now())?;
    Some((since, count.total))
}

/// A call that waits for a limit. Reports the end of the wait when it is dropped.
pub(super) struct WaitReport<'s> {
    reports: &'s LimitReports,
    limit: Limit,
    since: Instant,
    pub(super) has_started: bool,
}

impl WaitReport<'_> {
    /// Logs that the call still waits, at most once a second for each limit.
    #[cold]
    pub(super) fn log(&self, peer: Option<SocketAddr>) {
        if let Some((calls, total)) = count(&self.reports.waits, self.limit.name) {
            let Limit { name, value, .. } = self.limit;
            let waited = self.since.elapsed().as_secs_f64();
            tracing::warn!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display),
                limit = name, setting = value, waited, calls, total, "calls wait for a limit"
            );
        }
    }
}

impl Drop for WaitReport<'_> {
    fn drop(&mut self) {
        self.reports.events.emit(&Event::CallWaitEnded {
            limit: self.limit,
            waited: self.since.elapsed(),
            has_started: self.has_started,
        });
    }
}
