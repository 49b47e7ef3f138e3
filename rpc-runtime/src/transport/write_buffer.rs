//! Gathers messages into chunks for one write.

use bytes::{Bytes, BytesMut};

use crate::codec::RETAINED_BUFFER_BYTES;

/// The minimum capacity of a new buffer, in bytes.
const CAPACITY: usize = 4 << 10;

/// The maximum number of spare buffers kept while the transport holds their chunks.
const SPARE: usize = 8;

/// Alternates between two buffers. While the transport still holds chunks of one, the other can be reused from its
/// start.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    filling: BytesMut,
    alternate: BytesMut,
    /// Further buffers, for a transport that holds many chunks.
    spare: Vec<BytesMut>,
    /// The size of the last chunk.
    last: usize,
    /// The capacity of the newest buffer.
    size: usize,
}

impl Default for WriteBuffer {
    fn default() -> Self {
        Self {
            filling: BytesMut::new(),
            alternate: BytesMut::new(),
            spare: Vec::new(),
            last: 0,
            size: 0,
        }
    }
}

impl WriteBuffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.filling.capacity() - self.filling.len() < bytes.len() {
            self.make_room(bytes.len());
        }
        self.filling.extend_from_slice(bytes);
    }

    #[cold]
    fn make_room(&mut self, needed: usize) {
        if self.filling.try_reclaim(needed) {
            return;
        }
        let waiting = self.filling.len();
        let room = |spare: &mut BytesMut| spare.try_reclaim(needed.saturating_add(waiting));
        if let Some(spare) = self.spare.iter_mut().position(room) {
            let spare = &mut self.spare[spare];
            spare.extend_from_slice(&self.filling);
            self.filling.clear();
            std::mem::swap(&mut self.filling, spare);
            return;
        }
        // The capacity for many chunks of the usual size, at least doubled each time, so that allocations are rare.
        let usual = self
            .last
            .saturating_mul(16)
            .max(self.size.saturating_mul(2));
        let usual = usual.clamp(CAPACITY, RETAINED_BUFFER_BYTES);
        self.size = usual;
        // If many bytes wait, the buffer grows by at least half of them. Each byte is then copied only a few times,
        // however many are pushed.
        let growth = needed.max(usual).max(waiting / 2);
        let more = BytesMut::with_capacity(growth.saturating_add(waiting));
        let mut full = std::mem::replace(&mut self.filling, more);
        self.filling.extend_from_slice(&full);
        full.clear();
        if self.spare.len() < SPARE && usual == RETAINED_BUFFER_BYTES {
            self.spare.push(full);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.filling.len()
    }

    /// Returns the size of each of the larger buffers, in bytes.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.size
    }

    /// Returns approximately how many bytes of buffers are kept for reuse.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.size.saturating_mul(2 + self.spare.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filling.is_empty()
    }

    /// Takes all gathered bytes as one chunk.
    pub(crate) fn take(&mut self) -> Bytes {
        let chunk = self.filling.split().freeze();
        self.last = chunk.len();
        if chunk.len() > RETAINED_BUFFER_BYTES {
            self.filling = BytesMut::new();
        }
        std::mem::swap(&mut self.filling, &mut self.alternate);
        chunk
    }

    /// Releases the buffers if they are empty.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.filling.clear();
    }
}
