//! How a client behaves, and when it is enough.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::limits::Limits;

/// What a client does that costs the server more than itself.
#[derive(Debug)]
pub(super) struct Conduct {
    limits: Limits,
    late_messages: AtomicUsize,
    enough: Notify,
}

impl Conduct {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            late_messages: AtomicUsize::new(0),
            enough: Notify::new(),
        }
    }

    /// A stream was given up in the middle of a message.
    pub(super) fn message_was_late(&self) {
        if self.late_messages.fetch_add(1, Ordering::Relaxed) >= self.limits.late_messages {
            self.enough.notify_one();
        }
    }

    /// Resolves when the connection is to be closed.
    pub(super) async fn is_enough(&self) {
        self.enough.notified().await;
    }
}
