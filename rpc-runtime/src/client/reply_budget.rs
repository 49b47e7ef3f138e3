//! Counts the memory that a connection holds for replies and items, and fails those for which there is no room.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::client::error::CallFailure;
use crate::client::observe::ReplyReports;
use crate::codec::parser::{INDEX_TO_MESSAGE, most_parsed_bytes};
use crate::event::{EventHook, Limit};
use crate::event_limit::LOGGED_WAIT;
use crate::memory::{
    ConnectionMemory, LineCharge, MemoryCharge, PER_CONNECTION, ParsedKind, ParsedMessage,
    SERVER_POLL, room_timeout,
};
use crate::sync::{Mutex, lock};
use crate::transport::{Connection, close, quic};

/// Lines and replies of up to this size, in bytes, are not counted and never wait. Each stream counts this size for its
/// buffers.
pub(super) const SMALL_REPLY_BYTES: usize = 16 << 10;

/// Number of quarters of its budget that may be in use when a connection's receive window is widened. The rest is for the
/// data that is read.
const UNREAD_QUARTERS: usize = 2;

/// Maximum number of replies of a connection that are discarded because the server sends more than there is room for. A
/// further discarded reply closes the connection.
const MAX_DISCARDED: usize = 8;

/// A future that waits for room.
pub(super) type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The memory budget of a connection for replies.
#[derive(Debug)]
pub(super) struct ReplyBudget {
    pub(super) memory: Arc<ConnectionMemory>,
    pub(super) reply_limit: usize,
    transport: Connection,
    reports: ReplyReports,
    discarded: AtomicUsize,
    /// The only permit is a [`Turn`].
    turn: Arc<Semaphore>,
    /// Number of bytes of large lines that were received, and of large replies that were decoded. Shows progress.
    received: AtomicUsize,
    /// Number of bytes by which streams of items have widened the receive window.
    unread: Arc<AtomicUsize>,
    shared: SharedWindow,
}

/// The streams of items for which the receive window of their connection was not widened.
#[derive(Debug, Default)]
struct SharedWindow {
    /// Number of those that have items which their callers do not take.
    unread: AtomicUsize,
    /// The number from which on they may take the window from the calls of the connection; 0 if there was no such stream.
    most: AtomicUsize,
    /// The time since when there are as many.
    since: Mutex<Option<Instant>>,
}

/// Time for which streams of items are not read before the client says that they may hold replies back. Callers that read
/// take the next item sooner.
const HELD_BACK: Duration = Duration::from_millis(100);

/// The permission of one line at a time to be received past the budget. Otherwise lines that have begun could use up the
/// budget, and none of them would become complete.
pub(super) type Turn = OwnedSemaphorePermit;

/// Counts the line that a stream receives.
#[derive(Debug)]
pub(super) struct ReceivedLine {
    charge: LineCharge,
    /// Number of bytes that were received of a large line.
    length: usize,
    turn: Option<Turn>,
}

impl ReceivedLine {
    /// Returns `true` if a large line is counted.
    pub(super) fn is_counted(&self) -> bool {
        self.charge.has_line()
    }

    /// Continues the line after it has waited for room.
    pub(super) fn go_on(&mut self, turn: Option<Turn>) {
        self.turn = turn;
    }
}

/// The permission to decode a large reply. The memory for decoding is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Decoding {
    _parsed: ParsedMessage,
    _charge: MemoryCharge,
}

/// Widens the receive window of a connection for a stream of items, until it is dropped.
pub(super) struct ItemWindow {
    _room: quic::Room,
    charge: MemoryCharge,
    unread: Arc<AtomicUsize>,
}

/// The part of the receive window that a stream of items has.
pub(super) enum ItemRoom {
    /// The window was widened for the stream.
    Own { _window: ItemWindow },
    /// The stream shares the window with the calls of its connection.
    Shared {
        budget: Arc<ReplyBudget>,
        /// `true` if the caller has taken an item and does not ask for the next one.
        is_unread: bool,
    },
    /// Streams of this connection share no window.
    Unlimited,
}

impl ItemRoom {
    /// Records whether the caller asks for an item.
    #[inline]
    pub(super) fn set_unread(&mut self, now: bool) {
        if let Self::Shared { budget, is_unread } = self
            && std::mem::replace(is_unread, now) != now
        {
            budget.shared.count(now);
        }
    }
}

impl Drop for ItemRoom {
    fn drop(&mut self) {
        self.set_unread(false);
    }
}

impl SharedWindow {
    fn count(&self, is_unread: bool) {
        let most = self.most.load(Ordering::Relaxed);
        let before = match is_unread {
            true => self.unread.fetch_add(1, Ordering::Relaxed) + 1,
            false => self.unread.fetch_sub(1, Ordering::Relaxed),
        };
        if before == most {
            *lock(&self.since) = is_unread.then(Instant::now);
        }
    }

    /// Returns `true` if streams that are not read may have held replies back for this time.
    fn holds_back(&self, time: Duration) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if most == 0 || self.unread.load(Ordering::Relaxed) < most {
            return false;
        }
        let since = *lock(&self.since);
        since.is_some_and(|since| since.elapsed() >= time)
    }
}

impl Drop for ItemWindow {
    fn drop(&mut self) {
        self.unread
            .fetch_sub(self.charge.bytes(), Ordering::Relaxed);
    }
}

impl ReplyBudget {
    pub(super) fn new(
        memory: Arc<ConnectionMemory>,
        (reply_limit, events): (usize, &EventHook),
        transport: Connection,
    ) -> Arc<Self> {
        Arc::new(Self {
            memory,
            reply_limit,
            transport,
            reports: ReplyReports::new(events.clone()),
            discarded: AtomicUsize::new(0),
            turn: Arc::new(Semaphore::new(1)),
            received: AtomicUsize::new(0),
            unread: Arc::default(),
            shared: SharedWindow::default(),
        })
    }

    /// Returns the counter of a stream that receives lines.
    pub(super) fn stream(&self) -> ReceivedLine {
        ReceivedLine {
            charge: LineCharge::new(&self.memory, SMALL_REPLY_BYTES),
            length: 0,
            turn: None,
        }
    }

    /// Counts the part of a line that is held. Returns `true` if more of it may be received at once.
    pub(super) fn count(&self, counted: &mut ReceivedLine, line: &Vec<u8>) -> bool {
        let is_large = line.len() > SMALL_REPLY_BYTES;
        if is_large || counted.is_counted() {
            let held = if is_large { line.capacity() } else { 0 };
            counted.charge.set_line(held);
            let length = if is_large { line.len() } else { 0 };
            let grown = length.saturating_sub(counted.length);
            self.received.fetch_add(grown, Ordering::Relaxed);
            counted.length = length;
        }
        if !is_large || !self.memory.is_full() {
            counted.turn = None;
            return true;
        }
        // A line that has become long keeps its turn until it ends: otherwise one after the other would become as long.
        counted.turn.is_some() && self.is_short(line.capacity())
    }

    /// Returns `true` if a line that holds `bytes` bytes may be received past the budget.
    fn is_short(&self, bytes: usize) -> bool {
        bytes < self.memory.limit() / 4
    }

    /// Waits until more of a line may be received, of which `bytes` bytes are held: there is room, or the line has the turn.
    /// Fails if neither is the case for some time in which no other line makes progress; the caller must then discard the
    /// line. Of several waiting lines, the longest fails first. Also resolves when the connection is lost.
    pub(super) async fn room(self: Arc<Self>, bytes: usize) -> Result<Option<Turn>, CallFailure> {
        let wait = room_timeout(bytes, self.reply_limit);
        let waiting = async {
            let mut room = pin!(self.room_or_turn(bytes));
            loop {
                let before = self.received.load(Ordering::Relaxed);
                if let Ok(turn) = timeout(wait, room.as_mut()).await {
                    return Ok(turn);
                }
                let received = self.received.load(Ordering::Relaxed);
                let goes_on = received.wrapping_sub(before) >= SMALL_REPLY_BYTES;
                if !goes_on && !self.memory.is_decoding() {
                    return Err(self.no_room());
                }
            }
        };
        tokio::select! {
            biased;
            room = waiting => room,
            // Reading the stream returns the error.
            _ = self.transport.closed() => Ok(None),
        }
    }

    async fn room_or_turn(&self, bytes: usize) -> Option<Turn> {
        tokio::select! {
            biased;
            () = self.memory.has_room() => None,
            turn = self.turn(bytes) => turn,
        }
    }

    /// Waits for the turn of a line that holds `bytes` bytes.
    async fn turn(&self, bytes: usize) -> Option<Turn> {
        if !self.is_short(bytes) {
            return std::future::pending().await;
        }
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok();
        // While callers leave their replies untaken, nothing more is received past the budget.
        while !self
            .memory
            .is_used_up_by_partial(self.unread.load(Ordering::Relaxed))
        {
            sleep(SERVER_POLL).await;
        }
        turn
    }

    /// Records that a reply, or an item, is discarded because it is larger than the client accepts.
    #[cold]
    pub(super) fn too_large(&self) -> CallFailure {
        let limit = self.reply_limit;
        let peer = self.transport.remote_address();
        self.reports
            .discarded(peer, Limit::new("ClientBuilder::max_response_bytes", limit));
        CallFailure::ReplyTooLarge { limit }
    }

    /// Records that a line is discarded because there is no room.
    fn no_room(&self) -> CallFailure {
        let (peer, limit) = (self.transport.remote_address(), self.memory.limit());
        self.reports
            .discarded(peer, Limit::new(PER_CONNECTION, limit));
        // Otherwise the memory is held by replies and items that the callers have not taken.
        if self.memory.is_mostly_partial()
            && self.discarded.fetch_add(1, Ordering::Relaxed) >= MAX_DISCARDED
        {
            self.transport
                .close(close::EXCESSIVE_LOAD, "replies take too much memory");
        }
        CallFailure::NoRoom { limit }
    }

    /// Counts a large, complete reply until its caller takes it.
    #[cold]
    pub(super) fn charge(&self, reply: &Vec<u8>) -> MemoryCharge {
        MemoryCharge::new(&self.memory, reply.capacity())
    }

    /// Permits the decoding of a large reply at once, if the budget has room for its values or no other reply is being
    /// decoded. Otherwise returns a future that waits for room.
    pub(super) fn decoding(&self, reply: &Vec<u8>) -> Result<Decoding, Waiting<Decoding>> {
        self.received.fetch_add(reply.len(), Ordering::Relaxed);
        let memory = Arc::clone(&self.memory);
        let held = reply.capacity();
        let parsed = most_parsed_bytes(reply)
            .saturating_add(reply.len().saturating_mul(INDEX_TO_MESSAGE + 1));
        let charge = MemoryCharge::new(&memory, held);
        match ParsedMessage::enter(&memory, ParsedKind::Reply, parsed) {
            Some(entered) => Ok(Decoding::new(entered, charge, parsed)),
            None => Err(Box::pin(async move {
                let entered = ParsedMessage::wait(&memory, ParsedKind::Reply, parsed).await;
                Decoding::new(entered, charge, parsed)
            })),
        }
    }

    /// Waits until a reply can be decoded. Returns `None` if the reply is small.
    pub(super) async fn decode(&self, reply: &Vec<u8>) -> Option<Decoding> {
        if reply.len() <= SMALL_REPLY_BYTES {
            return None;
        }
        Some(match self.decoding(reply) {
            Ok(decoding) => decoding,
            Err(waiting) => waiting.await,
        })
    }

    /// Widens the receive window for a stream of items that may stay unread, unless too much memory is in use.
    pub(super) fn widen_window(self: &Arc<Self>) -> ItemRoom {
        if self.memory.is_used_to(UNREAD_QUARTERS) {
            return self.share_window();
        }
        let Some(room) = self.transport.make_room() else {
            return ItemRoom::Unlimited;
        };
        self.unread.fetch_add(room.bytes(), Ordering::Relaxed);
        let window = ItemWindow {
            charge: MemoryCharge::new(&self.memory, room.bytes()),
            _room: room,
            unread: Arc::clone(&self.unread),
        };
        ItemRoom::Own { _window: window }
    }

    #[cold]
    fn share_window(self: &Arc<Self>) -> ItemRoom {
        let Some(most) = self.transport.most_unread() else {
            return ItemRoom::Unlimited;
        };
        self.shared.most.store(most.max(1), Ordering::Relaxed);
        ItemRoom::Shared {
            budget: Arc::clone(self),
            is_unread: false,
        }
    }

    /// Returns the failure of a call whose time is over. It says if streams of items that are not read may have held the reply
    /// back.
    #[cold]
    pub(super) fn timed_out(&self) -> CallFailure {
        match self.shared.holds_back(HELD_BACK) {
            true => {
                self.report_held_back();
                CallFailure::TimedOutBehindItems {
                    limit: self.memory.limit(),
                }
            }
            false => CallFailure::TimedOut,
        }
    }

    /// Reports that streams of items that are not read may hold replies back, if they have done so for some time while calls
    /// wait. `in_flight` is the number of calls and of streams of items.
    pub(super) fn watch_items(&self, in_flight: usize) {
        let unread = self.shared.unread.load(Ordering::Relaxed);
        if unread > 0 && in_flight > unread && self.shared.holds_back(LOGGED_WAIT) {
            self.report_held_back();
        }
    }

    #[cold]
    fn report_held_back(&self) {
        let limit = Limit::new(PER_CONNECTION, self.memory.limit());
        let unread = self.shared.unread.load(Ordering::Relaxed);
        let server = self.transport.remote_address();
        self.reports.held_back(server, limit, unread);
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
        let budget = ReplyBudget::new(
            memory.connection(None),
            (1 << 20, &EventHook::default()),
            transport,
        );
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
