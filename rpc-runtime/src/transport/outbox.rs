//! Bytes that wait for their stream: many messages in, one chunk out.

use bytes::{Bytes, BytesMut};

use crate::limits::RETAINED;

/// How much a new buffer holds at least.
const CAPACITY: usize = 4 << 10;

/// Two buffers in turn: while the transport still holds chunks of one, the other is free to be used from its start.
#[derive(Debug)]
pub(crate) struct Outbox {
    filling: BytesMut,
    resting: BytesMut,
    /// How much left at once the last time.
    last: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            filling: BytesMut::new(),
            resting: BytesMut::new(),
            last: 0,
        }
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.filling.capacity() - self.filling.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        self.filling.extend_from_slice(bytes);
    }

    #[cold]
    fn make_room(&mut self, needed: usize) {
        if !self.filling.try_reclaim(needed) {
            // Room for many times what usually leaves at once, so that this is seldom done.
            let usual = self.last.saturating_mul(16).clamp(CAPACITY, RETAINED);
            self.filling.reserve(needed.max(usual));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.filling.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filling.is_empty()
    }

    /// Everything that waits, as one chunk.
    pub(crate) fn take(&mut self) -> Bytes {
        let chunk = self.filling.split().freeze();
        self.last = chunk.len();
        if chunk.len() > RETAINED {
            self.filling = BytesMut::new();
        }
        std::mem::swap(&mut self.filling, &mut self.resting);
        chunk
    }

    /// Gives back what it kept for more, if nothing waits.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.filling.clear();
    }
}
