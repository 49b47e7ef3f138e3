//! What a call sends, and what it receives: in memory that calls use one after the other, so that none allocates.

use std::ops::{Deref, DerefMut};

use crate::client::method::EncodedRequest;
use crate::client::options::{CallOptions, ClientOptions};
use crate::codec::{INITIAL_BUFFER_BYTES, RETAINED_BUFFER_BYTES};
use crate::sync::{self, Mutex};

/// Maximum number of calls whose memory is kept.
const POOLED: usize = 512;

/// Maximum capacity of all buffers of large replies that are kept.
const MAX_LARGE_REPLIES: usize = 1 << 20;

/// The request of a call or a notification, its options, and its reply.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) request: EncodedRequest,
    pub(super) options: CallOptions,
    /// The reply, once there is one.
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

    /// Returns the capacity for the reply, if it is larger than usual.
    fn large_reply(&self) -> usize {
        match self.reply.capacity() {
            usual if usual <= 2 * INITIAL_BUFFER_BYTES => 0,
            large => large,
        }
    }

    /// Clears it for the next call. Returns `false` if it grew too large to be kept.
    fn clear(&mut self) -> bool {
        self.request.clear();
        self.reply.clear();
        self.options.metadata.clear();
        self.request.capacity() <= RETAINED_BUFFER_BYTES
            && self.reply.capacity() <= RETAINED_BUFFER_BYTES
            && self.options.metadata.capacity() <= RETAINED_BUFFER_BYTES
    }
}

/// An [`Outgoing`] of a pool. Small, so that a call can be moved at little cost.
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
pub(super) struct OutgoingPool(Mutex<Pooled>);

/// What is kept for later calls.
#[derive(Debug, Default)]
#[allow(clippy::vec_box)] // taken out and put back as boxes
struct Pooled {
    list: Vec<Box<Outgoing>>,
    /// The sum of the buffers of large replies among them.
    large_replies: usize,
}

impl OutgoingPool {
    /// Takes an empty one, with the options of a new call.
    pub(super) fn take(&self, options: &ClientOptions) -> PooledOutgoing {
        let mut pool = sync::lock(&self.0);
        let pooled = pool.list.pop();
        if let Some(pooled) = &pooled {
            pool.large_replies -= pooled.large_reply();
        }
        drop(pool);
        let mut outgoing = pooled.unwrap_or_else(|| Box::new(Outgoing::new()));
        outgoing.options.begin(options);
        PooledOutgoing(Some(outgoing))
    }

    /// Puts one back, which is not used again.
    pub(super) fn put_back(&self, outgoing: &mut PooledOutgoing) {
        let Some(mut outgoing) = outgoing.0.take() else {
            return;
        };
        if outgoing.clear() {
            let mut pool = sync::lock(&self.0);
            let large = pool.large_replies + outgoing.large_reply();
            if pool.list.len() < POOLED && large <= MAX_LARGE_REPLIES {
                pool.large_replies = large;
                pool.list.push(outgoing);
            }
        }
    }

    /// Drops all that are kept.
    pub(super) fn clear(&self) {
        let pool = std::mem::take(&mut *sync::lock(&self.0));
        drop(pool);
    }
}
