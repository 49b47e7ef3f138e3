//! Buffers that a connection reuses for all messages.

use std::sync::Arc;

use crate::codec::arena::Arena;
use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::parser::{Parser, parsed_bytes};
use crate::codec::reply::Reply;
use crate::codec::{INITIAL_BUFFER_BYTES, RETAINED_BUFFER_BYTES};
use crate::context::{ConnectionContext, Context};
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, MemoryCharge};
use crate::streaming::exchange::Exchange;

/// The maximum size, in bytes, of messages and replies that never make a buffer grow beyond its retained size.
pub(super) const SMALL_MESSAGE_BYTES: usize = 1 << 10;

/// The approximate memory, in bytes, of a worker's task and of its buffers if it has received only small messages.
const WORKER_BYTES: usize = 16 << 10;

/// The number of quarters of its budget at which a connection stops keeping the buffers of large messages for reuse.
pub(super) const RETAINING_QUARTERS: usize = 1;

/// The buffers of a worker.
pub(super) struct WorkerBuffers {
    pub(super) message: Vec<u8>,
    /// A copy of a large message.
    pub(super) copy: Vec<u8>,
    pub(super) arena: Arena,
    pub(super) parser: Parser,
    pub(super) reply: Reply,
    pub(super) context: Context,
    pub(super) batch: BatchBuffers,
    pub(super) exchange: Exchange,
    pub(super) charge: WorkerCharge,
}

/// Counts the memory of a worker.
pub(super) struct WorkerCharge(MemoryCharge);

impl WorkerCharge {
    /// Returns `true` if more is counted than the minimum of every worker.
    fn is_more(&self) -> bool {
        self.0.bytes() > WORKER_BYTES
    }

    /// Counts `bytes` in addition to the minimum of every worker.
    pub(super) fn set(&mut self, bytes: usize) {
        self.0.set(WORKER_BYTES + bytes);
    }
}

/// The buffer that holds the reply to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyBuffer {
    Single,
    Batch,
}

impl WorkerBuffers {
    pub(super) fn new(
        limits: &Limits,
        connection: Arc<ConnectionContext>,
        memory: &Arc<ConnectionMemory>,
    ) -> Self {
        Self {
            message: Vec::with_capacity(INITIAL_BUFFER_BYTES),
            copy: Vec::new(),
            arena: Arena::default(),
            parser: Parser::new(limits.max_depth),
            reply: Reply::new(limits.max_response_bytes),
            context: Context::new(connection),
            batch: BatchBuffers::default(),
            exchange: Exchange::new(limits.max_depth),
            charge: WorkerCharge(MemoryCharge::new(memory, WORKER_BYTES)),
        }
    }

    /// Returns `true` if the message is so small that it is not counted.
    pub(super) fn is_message_small(&self) -> bool {
        self.message.len() <= SMALL_MESSAGE_BYTES
    }

    /// Returns the reply to a message, which is empty if there is none.
    pub(super) fn reply(&self, answer: ReplyBuffer) -> &[u8] {
        match answer {
            ReplyBuffer::Single => self.reply.bytes(),
            ReplyBuffer::Batch => &self.batch.out,
        }
    }

    /// Releases the memory of a large message or reply. Keeps smaller buffers if the connection uses much of its budget.
    pub(super) fn release_large(&mut self, answer: ReplyBuffer, memory: &ConnectionMemory) {
        let is_small = answer == ReplyBuffer::Single
            && self.message.len() <= SMALL_MESSAGE_BYTES
            && self.reply.bytes().len() <= SMALL_MESSAGE_BYTES
            && !self.exchange.is_used();
        self.arena.clear();
        if !is_small {
            self.release_past(match memory.is_used_to(RETAINING_QUARTERS) {
                true => SMALL_MESSAGE_BYTES,
                false => RETAINED_BUFFER_BYTES,
            });
            self.recount();
        }
    }

    /// Releases the memory of earlier messages. Does nothing while a message is being received.
    pub(super) fn release_idle(&mut self) {
        if self.message.is_empty() {
            self.release_past(0);
            self.recount();
        }
    }

    /// Counts the current size of the buffers, if the message in them is large.
    pub(super) fn recount_large(&mut self) {
        if self.message.len() > SMALL_MESSAGE_BYTES || self.charge.is_more() {
            self.recount();
        }
    }

    fn recount(&mut self) {
        let parts = [
            self.message.capacity(),
            self.copy.capacity(),
            self.parser.retained_bytes(),
            self.reply.retained_bytes(),
            self.batch.retained_bytes(),
            self.exchange.retained_bytes(),
        ];
        self.charge.set(parts.iter().sum());
    }

    fn release_past(&mut self, limit: usize) {
        // An idle worker keeps nothing, not even the padding of a message.
        let most = if limit == 0 { 0 } else { parsed_bytes(limit) };
        if self.message.capacity() > most {
            self.message = Vec::new();
        }
        if self.copy.capacity() > limit {
            self.copy = Vec::new();
        }
        self.parser.shrink(limit);
        self.reply.shrink(limit);
        self.context.shrink(limit);
        self.batch.release_past(limit);
        self.exchange.shrink(limit);
    }
}

/// The approximate size of the reply to a rejected entry of a batch, in bytes.
const REJECTED_ENTRY_BYTES: usize = 192;

/// The maximum capacity, in bytes, of an entry's reply buffer that is kept for the next entry.
pub(super) const RETAINED_ENTRY_BYTES: usize = 16 << 10;

/// The buffers of batches.
#[derive(Default)]
pub(super) struct BatchBuffers {
    /// The array of replies, which is empty if there are none.
    pub(super) out: Vec<u8>,
    pub(super) entries: Vec<EntryBuffers>,
}

/// The buffers of one entry.
pub(super) struct EntryBuffers {
    pub(super) context: Context,
    pub(super) reply: Reply,
}

impl EntryBuffers {
    fn retained_bytes(&self) -> usize {
        size_of::<Self>() + self.reply.retained_bytes()
    }
}

impl BatchBuffers {
    /// Replies to the whole batch with one error object.
    pub(super) fn reject(&mut self, error: ProtocolError) {
        self.out.clear();
        error.write(Id::Null, &mut self.out);
    }

    fn retained_bytes(&self) -> usize {
        let entries = self.entries.iter().map(EntryBuffers::retained_bytes);
        self.out.capacity() + entries.sum::<usize>()
    }

    fn release_past(&mut self, limit: usize) {
        if self.out.capacity() > limit {
            self.out = Vec::new();
        }
        if self.entries.capacity() == 0 {
            return;
        }
        // All entries together keep at most `limit` bytes.
        self.entries.truncate(limit / INITIAL_BUFFER_BYTES);
        self.entries.shrink_to(limit / INITIAL_BUFFER_BYTES);
        let each = limit / self.entries.len().max(1);
        for entry in &mut self.entries {
            entry.reply.shrink(each);
            entry.context.shrink(each);
        }
    }

    /// Appends an entry's reply to the array. Appends `error` instead, and returns `true`, if the reply would leave no room for
    /// errors for the `left` remaining entries.
    pub(super) fn collect(
        &mut self,
        mut entry: EntryBuffers,
        (limit, error): (usize, ProtocolError),
        left: usize,
    ) -> bool {
        let reply = entry.reply.bytes();
        let mut is_replaced = false;
        if !reply.is_empty() {
            self.out.push(if self.out.is_empty() { b'[' } else { b',' });
            if self.out.len() + reply.len() + left * REJECTED_ENTRY_BYTES < limit {
                self.out.extend_from_slice(reply);
            } else {
                self.out.extend_from_slice(entry.reply.head());
                error.write_body(&mut self.out);
                is_replaced = true;
            }
        }
        // Only the first buffer keeps `RETAINED_ENTRY_BYTES`, since a batch may have a hundred entries.
        let retained = match self.entries.is_empty() {
            true => RETAINED_ENTRY_BYTES,
            false => SMALL_MESSAGE_BYTES,
        };
        entry.reply.shrink(retained);
        entry.context.shrink(retained);
        self.entries.push(entry);
        is_replaced
    }
}
