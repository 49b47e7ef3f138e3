//! Settings of a client, and of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::retry::backoff::Backoff;
use crate::codec::ser::write_string;
use crate::deadline;

/// Settings of a client that concern its calls.
#[derive(Debug, Clone)]
pub(super) struct ClientOptions {
    /// Number of multiplexed streams.
    pub(super) streams: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) reply_limit: usize,
    pub(super) wait_for_ready: bool,
    /// How long to wait between attempts; `None` if calls are not retried.
    pub(super) retry: Option<Backoff>,
    pub(super) metadata: Option<MetadataSource>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            streams: 1,
            timeout: None,
            reply_limit: 4 << 20,
            wait_for_ready: true,
            retry: None,
            metadata: None,
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

/// Metadata of one call, as the members of a JSON object.
#[derive(Debug, Default)]
pub(super) struct MetadataWriter(Vec<u8>);

impl MetadataWriter {
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_string(name, &mut self.0);
        self.0.push(b':');
        write_string(value, &mut self.0);
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            out.extend_from_slice(br#","meta":"#);
            out.extend_from_slice(&self.0);
            out.push(b'}');
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

/// Settings of a call.
#[derive(Debug, Default)]
pub(super) struct CallOptions {
    pub(super) time: TimeLimit,
    pub(super) dedicated_stream: bool,
    pub(super) retries: bool,
    pub(super) metadata: MetadataWriter,
}

impl CallOptions {
    /// Sets the options of a new call. There is no metadata yet.
    pub(super) fn begin(&mut self, options: &ClientOptions) {
        self.time = TimeLimit::inherited(options);
        self.dedicated_stream = false;
        self.retries = options.retry.is_some();
        if let Some(MetadataSource(add)) = &options.metadata {
            add(&mut |name, value| self.metadata.push(name, value));
        }
    }
}

/// How long to wait.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct TimeLimit {
    /// Counted from when the wait begins.
    pub(super) timeout: Option<Duration>,
    /// When the handler that makes the call must be done.
    pub(super) deadline: Option<Instant>,
}

impl TimeLimit {
    /// Returns the client's timeout and the deadline that is inherited here.
    pub(super) fn inherited(options: &ClientOptions) -> Self {
        Self {
            timeout: options.timeout,
            deadline: deadline::inherited(),
        }
    }

    /// Returns the time that remains if the wait begins now: the shorter of timeout and time to the deadline.
    pub(super) fn remaining(&self) -> Option<Duration> {
        let Some(deadline) = self.deadline else {
            return self.timeout;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        Some(self.timeout.map_or(left, |timeout| timeout.min(left)))
    }
}
