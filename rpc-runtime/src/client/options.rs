//! Settings of a client and of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::metadata::MetadataWriter;
use crate::client::middleware::chain::Middlewares;
use crate::client::retry::backoff::Backoff;
use crate::deadline;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::ServerMemory;

/// The settings of a client for its calls.
#[derive(Debug, Clone)]
pub(super) struct ClientOptions {
    /// Number of multiplexed streams.
    pub(super) streams: usize,
    /// Maximum number of dedicated streams of a connection.
    pub(super) max_dedicated_streams: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) reply_limit: usize,
    pub(super) wait_for_ready: bool,
    /// Delays between attempts; `None` if calls are not retried.
    pub(super) retry: Option<Backoff>,
    pub(super) metadata: Option<MetadataSource>,
    pub(super) events: EventHook,
    /// The middleware of all calls.
    pub(super) middleware: Option<Middlewares>,
    /// Counts the memory that is held for all connections.
    pub(super) memory: Arc<ServerMemory>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            streams: 1,
            max_dedicated_streams: 100,
            timeout: None,
            reply_limit: 4 << 20,
            wait_for_ready: true,
            retry: None,
            metadata: None,
            events: EventHook::default(),
            middleware: None,
            memory: ServerMemory::new(&Limits::default()),
        }
    }
}

/// Writes the metadata that a client adds to all its calls.
#[derive(Clone)]
pub(super) struct MetadataSource(pub(super) Arc<AddMetadata>);

type AddMetadata = dyn Fn(&mut dyn FnMut(&str, &str)) + Send + Sync;

impl fmt::Debug for MetadataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetadataSource")
    }
}

/// Settings of a call.
#[derive(Debug, Default)]
pub(super) struct CallOptions {
    pub(super) time: TimeLimit,
    pub(super) dedicated_stream: bool,
    pub(super) retries: bool,
    /// `true` if a large reply is kept after it was decoded, for the middleware.
    pub(super) keeps_reply: bool,
    pub(super) metadata: MetadataWriter,
}

impl CallOptions {
    /// Sets the options of a new call, whose metadata is empty.
    pub(super) fn begin(&mut self, options: &ClientOptions) {
        self.time = TimeLimit::inherited(options);
        self.dedicated_stream = false;
        self.keeps_reply = false;
        self.retries = options.retry.is_some();
        if let Some(MetadataSource(add)) = &options.metadata {
            add(&mut |name, value| self.metadata.push(name, value));
        }
    }
}

/// The time limit of a call, a batch or a notification.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct TimeLimit {
    /// Maximum duration of the wait.
    pub(super) timeout: Option<Duration>,
    /// The deadline of the handler that makes the call.
    pub(super) deadline: Option<Instant>,
}

impl TimeLimit {
    /// Returns the client's timeout and the deadline of the current task.
    pub(super) fn inherited(options: &ClientOptions) -> Self {
        Self {
            timeout: options.timeout,
            deadline: deadline::inherited(),
        }
    }

    /// Returns the time that remains if the wait begins now: the timeout, or the time until the deadline if that is shorter.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let Some(deadline) = self.deadline else {
            return self.timeout;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        Some(self.timeout.map_or(left, |timeout| timeout.min(left)))
    }
}
