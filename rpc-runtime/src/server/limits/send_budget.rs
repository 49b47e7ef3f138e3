//! Replies that wait to be sent, over all streams of a connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits::Limits;

/// A stream with less than this waiting is not counted: nearly all have, and to count costs.
const COUNTED: usize = 16 << 10;

#[derive(Debug)]
pub(in crate::server) struct SendBudget {
    bytes: AtomicUsize,
    /// There is room again.
    drained: Notify,
    limit: usize,
    pub(in crate::server) max_stream_bytes: usize,
    /// How long a client may take none of a stream's replies.
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

    /// Waits while too much waits to be sent.
    pub(in crate::server) async fn has_room(&self) {
        loop {
            let drained = self.drained.notified();
            if !self.is_full() {
                return;
            }
            drained.await;
        }
    }

    /// A stream of which so much was `counted` has now so much `waiting`.
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
