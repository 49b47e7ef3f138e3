//! The request and the reply of a call, in pooled memory, so that calls allocate nothing.

use std::ops::{Deref, DerefMut};

use crate::client::method::EncodedRequest;
use crate::client::options::{CallOptions, ClientOptions};
use crate::codec::{INITIAL_BUFFER_BYTES, RETAINED_BUFFER_BYTES};
use crate::sync::{self, Mutex};

/// Maximum number of calls whose memory is kept for reuse.
const POOLED: usize = 512;

/// The maximum capacity of a reply's buffer that is kept for the next call, in bytes. The server chooses how much of it is
/// used. So the capacity of all buffers together is small, and is not counted.
pub(super) const MAX_KEPT_REPLY_BYTES: usize = 8 << 10;

/// The request of a call or a notification, its options, and its reply.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) request: EncodedRequest,
    pub(super) options: CallOptions,
    /// The reply, once it has arrived.
    pub(super) reply: Vec<u8>,
}

impl Outgoing {
    fn new() -> Self {
        Self {
            request: EncodedRequest::with_capacity(INITIAL_BUFFER_BYTES),
            options: CallOptions::default(),
            reply: Vec::with_capacity(INITIAL_BUFFER_BYTES),
        }
    }

    /// Clears the memory for the next call. Returns `false` if it grew too large to be kept.
    fn clear(&mut self) -> bool {
        self.request.clear();
        self.reply.clear();
        if self.reply.capacity() > MAX_KEPT_REPLY_BYTES {
            self.reply = Vec::new();
        }
        self.options.metadata.clear();
        self.request.capacity() <= RETAINED_BUFFER_BYTES
            && self.options.metadata.capacity() <= RETAINED_BUFFER_BYTES
    }
}

/// An [`Outgoing`] of a pool. It is small, so that moving a call is cheap.
#[derive(Debug)]
pub(super) struct PooledOutgoing(Option<Box<Outgoing>>);

impl Deref for PooledOutgoing {
    type Target = Outgoing;

    fn deref(&self) -> &Outgoing {
        match &self.0 {
            Some(outgoing) => outgoing,
            None => unreachable!("it was put back"),
        }
    }
}

impl DerefMut for PooledOutgoing {
    fn deref_mut(&mut self) -> &mut Outgoing {
        match &mut self.0 {
            Some(outgoing) => outgoing,
            None => unreachable!("it was put back"),
        }
    }
}

#[derive(Debug, Default)]
#[allow(clippy::vec_box)] // the pool takes and returns boxes
pub(super) struct OutgoingPool(Mutex<Vec<Box<Outgoing>>>);

impl OutgoingPool {
    /// Takes an empty [`Outgoing`] from the pool, with the options of a new call.
    pub(super) fn take(&self, options: &ClientOptions) -> PooledOutgoing {
        let pooled = sync::lock(&self.0).pop();
        let mut outgoing = pooled.unwrap_or_else(|| Box::new(Outgoing::new()));
        outgoing.options.begin(options);
        PooledOutgoing(Some(outgoing))
    }

    /// Returns an [`Outgoing`] to the pool, and leaves none in its place.
    pub(super) fn put_back(&self, outgoing: &mut PooledOutgoing) {
        let Some(mut outgoing) = outgoing.0.take() else {
            return;
        };
        if outgoing.clear() {
            let mut pool = sync::lock(&self.0);
            if pool.len() < POOLED {
                pool.push(outgoing);
            }
        }
    }

    /// Drops all pooled memory.
    pub(super) fn clear(&self) {
        let pool = std::mem::take(&mut *sync::lock(&self.0));
        drop(pool);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn pooled_call_keeps_nothing_of_the_call_before() {
        let pool = OutgoingPool::default();
        let options = ClientOptions::default();
        let mut outgoing = pool.take(&options);
        let reply = outgoing.reply.as_ptr();
        outgoing.reply.push(b'1');
        outgoing.options.time.timeout = Some(Duration::from_secs(1));
        outgoing.options.time.deadline = Some(Instant::now());
        outgoing.options.dedicated_stream = true;
        outgoing.options.retries = true;
        outgoing.options.metadata.push("user", "ada");
        pool.put_back(&mut outgoing);

        let next = pool.take(&options);
        assert_eq!(next.reply.as_ptr(), reply, "the same memory");
        assert!(next.reply.is_empty());
        assert_eq!(next.options.time.remaining(), None);
        assert!(!next.options.dedicated_stream);
        assert!(!next.options.retries);
        assert!(next.options.metadata.is_empty());
    }

    #[test]
    fn reply_buffer_that_grew_too_large_is_not_pooled() {
        let pool = OutgoingPool::default();
        let mut outgoing = pool.take(&ClientOptions::default());
        outgoing.reply.reserve(MAX_KEPT_REPLY_BYTES + 1);
        pool.put_back(&mut outgoing);
        let pooled: Vec<_> = sync::lock(&pool.0)
            .iter()
            .map(|call| call.reply.capacity())
            .collect();
        assert_eq!(pooled, [0]);
    }

    #[test]
    fn pool_keeps_a_limited_number_of_calls() {
        let pool = OutgoingPool::default();
        let options = ClientOptions::default();
        let mut calls: Vec<_> = (0..=POOLED).map(|_| pool.take(&options)).collect();
        calls.iter_mut().for_each(|call| pool.put_back(call));
        assert_eq!(sync::lock(&pool.0).len(), POOLED);
    }
}
