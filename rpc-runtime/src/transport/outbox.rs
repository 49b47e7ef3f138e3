//! Bytes that wait for their stream: many messages in, one chunk out.

use bytes::{Bytes, BytesMut};

use crate::limits::RETAINED;

/// How much one of the two buffers holds before it has to grow.
const CAPACITY: usize = 16 << 10;

/// Two buffers in turn: while the transport still holds chunks of one, the other is free to be used from its start.
#[derive(Debug)]
pub(crate) struct Outbox {
    filling: BytesMut,
    resting: BytesMut,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            filling: BytesMut::new(),
            resting: BytesMut::new(),
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
            self.filling.reserve(needed.max(CAPACITY));
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
        if chunk.len() > RETAINED {
            self.filling = BytesMut::new();
        }
        std::mem::swap(&mut self.filling, &mut self.resting);
        chunk
    }

    pub(crate) fn clear(&mut self) {
        self.filling.clear();
    }
}
