//! Buffers that are used again for every message.

use std::sync::Arc;

use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::parser::Parser;
use crate::codec::reply::Reply;
use crate::context::{ConnectionContext, Context};
use crate::limits::{BUFFER, Limits, RETAINED};
use crate::streaming::exchange::Exchange;

/// What a worker works with, used again for every message.
pub(super) struct WorkerBuffers {
    pub(super) message: Vec<u8>,
    pub(super) parser: Parser,
    pub(super) reply: Reply,
    pub(super) context: Context,
    pub(super) batch: BatchBuffers,
    pub(super) exchange: Exchange,
}

impl WorkerBuffers {
    pub(super) fn new(limits: &Limits, connection: Arc<ConnectionContext>) -> Self {
        Self {
            message: Vec::with_capacity(BUFFER),
            parser: Parser::new(limits.depth),
            reply: Reply::new(limits.reply),
            context: Context::new(connection),
            batch: BatchBuffers::default(),
            exchange: Exchange::new(limits.depth),
        }
    }

    /// Gives back what a large message made of it.
    pub(super) fn shrink(&mut self) {
        self.shrink_to(RETAINED);
    }

    /// Gives back what any message made of it; one that has begun to come stays.
    pub(super) fn rest(&mut self) {
        if self.message.is_empty() {
            self.shrink_to(0);
        }
    }

    fn shrink_to(&mut self, limit: usize) {
        if self.message.capacity() > limit {
            self.message = Vec::new();
        }
        self.parser.shrink(limit);
        self.reply.shrink(limit);
        self.context.shrink(limit);
        self.batch.shrink(limit);
        self.exchange.shrink(limit);
    }
}

/// About how long an entry of a batch is that is refused for want of room.
const REFUSED: usize = 128;

/// What batches are worked on with, used again for every one.
#[derive(Default)]
pub(super) struct BatchBuffers {
    pub(super) out: Vec<u8>,
    pub(super) desks: Vec<EntryBuffers>,
}

/// What one entry is worked on with.
pub(super) struct EntryBuffers {
    pub(super) context: Context,
    pub(super) reply: Reply,
}

impl BatchBuffers {
    /// Answers the whole batch with one error object.
    pub(super) fn refuse(&mut self, refusal: ProtocolError) {
        self.out.clear();
        refusal.write(Id::Null, &mut self.out);
    }

    /// The array of replies; nothing, if there was nothing to answer.
    pub(super) fn reply(&self) -> &[u8] {
        &self.out
    }

    pub(super) fn shrink(&mut self, limit: usize) {
        if self.out.capacity() > limit {
            self.out = Vec::new();
        }
        // All of them together keep no more than that.
        self.desks.truncate(limit / BUFFER);
        self.desks.shrink_to(limit / BUFFER);
        let each = limit / self.desks.len().max(1);
        for desk in &mut self.desks {
            desk.reply.shrink(each);
            desk.context.shrink(each);
        }
    }

    /// Takes an entry's reply into the array, if that leaves room for those that are `left` to be refused.
    pub(super) fn collect(&mut self, desk: EntryBuffers, limit: usize, left: usize) {
        let reply = desk.reply.bytes();
        if !reply.is_empty() {
            self.out.push(if self.out.is_empty() { b'[' } else { b',' });
            if self.out.len() + reply.len() + left * REFUSED < limit {
                self.out.extend_from_slice(reply);
            } else {
                self.out.extend_from_slice(desk.reply.head());
                ProtocolError::BatchReplyTooLarge.write_body(&mut self.out);
            }
        }
        self.desks.push(desk);
    }
}
