//! Limits the unsent replies on all streams of a connection, and counts the bytes that the streams hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::Limits;
use crate::memory::ConnectionMemory;

/// Streams with fewer unsent bytes are not counted. They are the common case, and counting costs an atomic operation.
const COUNTED: usize = 16 << 10;

/// The bytes of one stream that the totals of a connection include.
#[derive(Debug, Default)]
pub(in crate::server) struct CountedBytes {
    unsent: usize,
    held: usize,
    /// The size of the stream's buffers, if the stream held too few bytes to be counted.
    small_with: Option<usize>,
}

impl CountedBytes {
    /// Returns `true` if these are the counts of a stream that holds few bytes, in buffers of this size.
    #[inline]
    pub(in crate::server) fn is_of(&self, held: usize, buffer_bytes: usize) -> bool {
        held < COUNTED && self.small_with == Some(buffer_bytes)
    }

    /// Records the size of the buffers, if they hold too few bytes to be counted.
    pub(in crate::server) fn set_small(&mut self, held: usize, buffer_bytes: usize) {
        self.small_with = (held < COUNTED).then_some(buffer_bytes);
    }
}

#[derive(Debug)]
pub(in crate::server) struct SendBudget {
    bytes: AtomicUsize,
    /// Notified when the number of unsent bytes falls.
    drained: Notify,
    limit: usize,
    memory: Arc<ConnectionMemory>,
    pub(in crate::server) max_stream_bytes: usize,
    /// Maximum time for which the client reads none of a stream's replies.
    pub(in crate::server) write_timeout: Duration,
}

impl SendBudget {
    pub(in crate::server) fn new(limits: &Limits, memory: Arc<ConnectionMemory>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            drained: Notify::new(),
            limit: limits.max_unsent_bytes_per_connection,
            memory,
            max_stream_bytes: limits.max_unsent_bytes_per_stream,
            write_timeout: limits.write_timeout,
        }
    }

    pub(in crate::server) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limit
    }

    /// Waits while the unsent bytes exceed the limit.
    pub(in crate::server) async fn has_room(&self) {
        loop {
            let drained = self.drained.notified();
            if !self.is_full() {
                return;
            }
            drained.await;
        }
    }

    /// Updates the totals for a stream that holds `held` bytes, of which `unsent` bytes wait to be sent.
    pub(in crate::server) fn count(&self, counted: &mut CountedBytes, unsent: usize, held: usize) {
        let from = |bytes| if bytes < COUNTED { 0 } else { bytes };
        self.memory.count(&mut counted.held, from(held));
        let now = from(unsent);
        let before = std::mem::replace(&mut counted.unsent, now);
        if now > before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed);
            self.drained.notify_waiters();
        }
    }
}
