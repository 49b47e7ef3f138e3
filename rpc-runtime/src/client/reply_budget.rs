//! Counts what a connection holds for replies and items, and fails those for which there is no room.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;

use crate::client::error::CallFailure;
use crate::codec::parser::{INDEX, most_parsed_bytes};
use crate::memory::{ConnectionMemory, LineCharge, MemoryCharge, ParsedMessage, patience};
use crate::transport::{Connection, close, quic};

/// No line and no reply of so few bytes is counted, nor waits. A stream counts as many for its buffers.
pub(super) const SMALL_REPLY_BYTES: usize = 16 << 10;

/// How many quarters of its budget a connection may hold for its receive window to be widened. The rest is for what is read.
const UNREAD_QUARTERS: usize = 2;

/// Maximum number of replies of a connection that are discarded because the server sends more than there is room for. One more
/// closes the connection.
const MAX_DISCARDED: usize = 8;

/// Waits for room.
pub(super) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a connection may hold for replies.
#[derive(Debug)]
pub(super) struct ReplyBudget {
    pub(super) memory: Arc<ConnectionMemory>,
    pub(super) reply_limit: usize,
    transport: Connection,
    discarded: AtomicUsize,
}

/// The right to decode a large reply. What that takes is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Decoding {
    _parsed: ParsedMessage,
    _charge: MemoryCharge,
}

/// What widens the receive window of a connection for a stream of items.
pub(super) struct ItemWindow {
    _room: quic::Room,
    _charge: MemoryCharge,
}

impl ReplyBudget {
    pub(super) fn new(
        memory: Arc<ConnectionMemory>,
        reply_limit: usize,
        transport: Connection,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory,
            reply_limit,
            transport,
            discarded: AtomicUsize::new(0),
        })
    }

    /// Counts a stream whose lines are received.
    pub(super) fn stream(&self) -> LineCharge {
        LineCharge::new(&self.memory, SMALL_REPLY_BYTES)
    }

    /// Counts the part of a line that is held. Returns whether more of it may be received at once.
    pub(super) fn count(&self, charge: &mut LineCharge, line: &Vec<u8>) -> bool {
        let is_large = line.len() > SMALL_REPLY_BYTES;
        if is_large || charge.has_line() {
            charge.set_line(if is_large { line.capacity() } else { 0 });
        }
        !is_large || !self.memory.is_full()
    }

    /// Waits until more of a line of which `bytes` are held may be received. If there is no room for some time, the line is to
    /// be discarded: the longest of those that wait first. Resolves also when the connection is lost.
    pub(super) async fn room(self: Arc<Self>, bytes: usize) -> Result<(), CallFailure> {
        let patience = patience(bytes, self.reply_limit);
        tokio::select! {
            biased;
            freed = timeout(patience, self.memory.has_room()) => freed.map_err(|_| self.no_room()),
            // The stream says so when it is read.
            _ = self.transport.closed() => Ok(()),
        }
    }

    /// Records that a line is discarded for want of room.
    fn no_room(&self) -> CallFailure {
        let (peer, limit) = (self.transport.remote_address(), self.memory.limit());
        tracing::warn!(
            target: "rpc_runtime::client",
            ?peer,
            held = self.memory.used(),
            setting = limit,
            "reply discarded at the memory limit"
        );
        // Otherwise it is the replies and items that the callers do not take.
        if self.memory.is_mostly_partial()
            && self.discarded.fetch_add(1, Ordering::Relaxed) >= MAX_DISCARDED
        {
            self.transport
                .close(close::EXCESSIVE_LOAD, "replies take too much memory");
        }
        CallFailure::NoRoom { limit }
    }

    /// Counts a complete reply that is large, until its caller takes it.
    #[cold]
    pub(super) fn charge(&self, reply: &Vec<u8>) -> MemoryCharge {
        MemoryCharge::new(&self.memory, reply.capacity())
    }

    /// Lets a large reply be decoded: at once if the budget has room for its values or no other is being decoded, and
    /// otherwise once there is room.
    pub(super) fn decoding(&self, reply: &Vec<u8>) -> Result<Decoding, Waiting<Decoding>> {
        let memory = Arc::clone(&self.memory);
        let held = reply.capacity();
        let parsed = most_parsed_bytes(reply).saturating_add(reply.len().saturating_mul(INDEX));
        let charge = MemoryCharge::new(&memory, held);
        match ParsedMessage::enter(&memory, parsed) {
            Some(entered) => Ok(Decoding::new(entered, charge, parsed)),
            None => Err(Box::pin(async move {
                let entered = ParsedMessage::wait(&memory, parsed).await;
                Decoding::new(entered, charge, parsed)
            })),
        }
    }

    /// Waits until a reply can be decoded. `None` if it is small.
    pub(super) async fn decode(&self, reply: &Vec<u8>) -> Option<Decoding> {
        if reply.len() <= SMALL_REPLY_BYTES {
            return None;
        }
        Some(match self.decoding(reply) {
            Ok(decoding) => decoding,
            Err(waiting) => waiting.await,
        })
    }

    /// Widens the receive window for a stream of items that may stay unread, unless too much is held already.
    pub(super) fn widen_window(&self) -> Option<ItemWindow> {
        if self.memory.is_used_to(UNREAD_QUARTERS) {
            return None;
        }
        let room = self.transport.make_room()?;
        Some(ItemWindow {
            _charge: MemoryCharge::new(&self.memory, room.bytes()),
            _room: room,
        })
    }
}

impl Decoding {
    fn new(parsed: ParsedMessage, mut charge: MemoryCharge, bytes: usize) -> Self {
        charge.set(charge.bytes().saturating_add(bytes));
        Self {
            _parsed: parsed,
            _charge: charge,
        }
    }
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::limits::Limits;
    use crate::memory::ServerMemory;
    use crate::transport::memory;

    #[test]
    fn large_replies_are_decoded_one_after_the_other_if_there_is_no_room_for_all() {
        let memory = ServerMemory::new(&Limits {
            max_memory_bytes_per_connection: 2 << 20,
            ..Limits::default()
        });
        let transport = Connection::Memory(memory::pair().0);
        let budget = ReplyBudget::new(memory.connection(None), 1 << 20, transport);
        let dense = "0,".repeat(20_000).into_bytes();
        let first = budget.decoding(&dense).ok().expect("the first");
        let second = budget.decoding(&dense).ok().expect("room for it");
        let third = budget.decoding(&dense);
        let mut third = third.expect_err("no room");
        assert!((&mut third).now_or_never().is_none());
        assert!(budget.memory.used() < 2 << 20);
        drop(first);
        assert!(third.now_or_never().is_some());
        drop(second);
        assert_eq!(budget.memory.used(), 0);
    }
}
