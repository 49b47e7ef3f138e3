//! Reports calls that wait for a dedicated stream, and replies that are discarded, as events and in the log.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;

use tokio::time::{Instant, sleep, sleep_until};

use crate::client::error::{CallFailure, DEDICATED, GRANTED};
use crate::event::{Event, EventHook, Limit};
use crate::event_limit::{EventLimit, LOGGED_WAIT};
use crate::sync::{Mutex, lock};

/// Reports the calls of a connection that wait for a dedicated stream.
#[derive(Debug, Default)]
pub(super) struct StreamReports {
    pub(super) events: EventHook,
    /// Counts the calls that waited for so long that they are logged.
    waits: Mutex<EventLimit>,
}

impl StreamReports {
    pub(super) fn new(events: EventHook) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    /// Returns the limit for which a call waits.
    pub(super) fn limit(dedicated: usize, available: usize) -> Limit {
        match available {
            0 => Limit::new(DEDICATED, dedicated),
            _ => Limit::unknown(GRANTED),
        }
    }

    /// Waits until a stream is open, but not beyond the deadline of the call.
    pub(super) async fn wait<T>(
        &self,
        opening: impl Future<Output = Result<T, CallFailure>>,
        (limit, server): (Limit, Option<SocketAddr>),
        deadline: Option<Instant>,
    ) -> Result<T, CallFailure> {
        let mut report = StreamWait::new(&self.events, limit);
        let mut opening = pin!(opening);
        let timed_out = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let mut timed_out = pin!(timed_out);
        let mut logged = pin!(async {
            sleep(LOGGED_WAIT).await;
            self.log(limit, server);
            std::future::pending::<Infallible>().await
        });
        let opened = tokio::select! {
            biased;
            opened = &mut opening => opened,
            () = &mut timed_out => Err(CallFailure::TimedOutAtLimit(limit)),
            never = &mut logged => match never {},
        };
        report.has_opened = opened.is_ok();
        opened
    }

    #[cold]
    pub(super) fn log(&self, limit: Limit, server: Option<SocketAddr>) {
        let mut waits = lock(&self.waits);
        let Some(calls) = waits.add(Instant::now()) else {
            return;
        };
        let total = waits.total;
        drop(waits);
        let Limit { name, value, .. } = limit;
        tracing::warn!(
            target: "rpc_runtime::client",
            server = server.map(tracing::field::display),
            limit = name, setting = value, calls, total, "calls wait for a stream"
        );
    }
}

/// Reports the replies of a connection that are discarded at a limit of the client.
#[derive(Debug, Default)]
pub(super) struct ReplyReports {
    events: EventHook,
    discarded: Mutex<EventLimit>,
    held_back: Mutex<EventLimit>,
}

impl ReplyReports {
    pub(super) fn new(events: EventHook) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    #[cold]
    pub(super) fn discarded(&self, server: Option<SocketAddr>, limit: Limit) {
        self.events.emit(&Event::ReplyDiscarded { limit });
        let mut discarded = lock(&self.discarded);
        let Some(replies) = discarded.add(Instant::now()) else {
            return;
        };
        let total = discarded.total;
        drop(discarded);
        let Limit { name, value, .. } = limit;
        tracing::warn!(
            target: "rpc_runtime::client",
            server = server.map(tracing::field::display), limit = name, setting = value, replies, total, "replies discarded at a limit"
        );
    }
}

impl ReplyReports {
    /// Reports that `streams` streams of items are not read and may hold replies back, at most once a second.
    #[cold]
    pub(super) fn held_back(&self, server: Option<SocketAddr>, limit: Limit, streams: usize) {
        if lock(&self.held_back).add(Instant::now()).is_none() {
            return;
        }
        self.events.emit(&Event::RepliesHeldBack { limit });
        let Limit { name, value, .. } = limit;
        tracing::warn!(
            target: "rpc_runtime::client",
            server = server.map(tracing::field::display), limit = name, setting = value, streams, "streams of items are not read"
        );
    }
}

/// A call that waits for a stream. Reports the end of the wait when it is dropped.
struct StreamWait<'e> {
    events: &'e EventHook,
    limit: Limit,
    since: Instant,
    has_opened: bool,
}

impl<'e> StreamWait<'e> {
    fn new(events: &'e EventHook, limit: Limit) -> Self {
        events.emit(&Event::StreamWaitStarted { limit });
        Self {
            events,
            limit,
            since: Instant::now(),
            has_opened: false,
        }
    }
}

impl Drop for StreamWait<'_> {
    fn drop(&mut self) {
        self.events.emit(&Event::StreamWaitEnded {
            limit: self.limit,
            waited: self.since.elapsed(),
            has_opened: self.has_opened,
        });
    }
}
