//! Limits the unsent replies on all streams of a connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::Limits;

/// Streams with fewer unsent bytes are not counted: they are the common case, and counting costs an atomic operation.
const COUNTED: usize = 16 << 10;

#[derive(Debug)]
pub(in crate::server) struct SendBudget {
    bytes: AtomicUsize,
    /// Notified when the number of unsent bytes falls.
    drained: Notify,
    limit: usize,
    pub(in crate::server) max_stream_bytes: usize,
    /// The maximum time for which the client reads none of a stream's replies.
    pub(in crate::server) write_timeout: Duration,
}

impl SendBudget {
    pub(in crate::server) fn new(limits: &Limits) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            drained: Notify::new(),
            limit: limits.unsent_per_connection,
            max_stream_bytes: limits.unsent_per_stream,
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

    /// Updates the total for a stream with `waiting` unsent bytes, of which `counted` are in the total.
    pub(in crate::server) fn count(&self, counted: &mut usize, waiting: usize) {
        let before = *counted;
        let now = if waiting < COUNTED { 0 } else { waiting };
        *counted = now;
        if now > before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed);
            self.drained.notify_waiters();
        }
    }
}
