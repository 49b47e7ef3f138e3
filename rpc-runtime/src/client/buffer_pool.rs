//! Buffers that calls use one after the other, so that a call allocates none.

use crate::limits::{BUFFER, RETAINED};
use crate::sync::{self, Mutex};

/// Maximum number of pairs that are kept.
const POOLED: usize = 512;

/// Buffers of a call.
#[derive(Debug, Default)]
pub(super) struct CallBuffers {
    pub(super) request: Vec<u8>,
    pub(super) reply: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<CallBuffers>>);

impl BufferPool {
    pub(super) fn take(&self) -> CallBuffers {
        let pooled = sync::lock(&self.0).pop();
        pooled.unwrap_or_else(|| CallBuffers {
            request: Vec::with_capacity(BUFFER),
            reply: Vec::with_capacity(BUFFER),
        })
    }

    /// Takes buffers back, unless one grew too large or is gone.
    pub(super) fn put_back(&self, mut buffers: CallBuffers) {
        let CallBuffers { request, reply } = &mut buffers;
        let is_kept = |buffer: &Vec<u8>| (1..=RETAINED).contains(&buffer.capacity());
        if !is_kept(request) || !is_kept(reply) {
            return;
        }
        request.clear();
        reply.clear();
        let mut pool = sync::lock(&self.0);
        if pool.len() < POOLED {
            pool.push(buffers);
        }
    }

    /// Drops all buffers.
    pub(super) fn clear(&self) {
        let pool = std::mem::take(&mut *sync::lock(&self.0));
        drop(pool);
    }
}
