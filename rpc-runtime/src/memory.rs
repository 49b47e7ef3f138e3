//! Counts the memory that a server or a client holds for its peers: by connection, by network and in total.
//!
//! Both halves of a connection count in one budget. The serving half counts the memory for the peer's calls, and the calling
//! half counts the memory for the peer's replies.
//!
//! A connection that has used up its budget is not read until some of it is free again. The same holds for the connections
//! of a network that uses its [`Share`] of the server's budget: one network may hold half of it, and less the more others
//! hold. So a new network finds some even if many networks hold as much as they can.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::codec::error_code::{FullBudget, Setting};
use crate::limits::Limits;
use crate::prefix;
use crate::share::{Share, admits};
use crate::sync::{Mutex, lock};

/// Number of bytes that a connection takes from the server's budget at a time. The chunks keep connections from contending
/// for its counter.
const CHUNK_BYTES: usize = 64 << 10;

/// Maximum share of the server's budget that a network may hold if no other network holds any, in percent.
const PERCENT_PER_NETWORK: usize = 50;

/// Time after which a waiting message first checks for room of which it is not notified. Each later interval is twice as
/// long, up to [`LONGEST_POLL`], since many messages may wait and each check takes time.
pub(crate) const SERVER_POLL: Duration = Duration::from_millis(20);

/// Maximum interval between two checks of a waiting message.
const LONGEST_POLL: Duration = Duration::from_millis(320);

/// Maximum time for which a message that has begun waits for room in the connection's budget. A small message waits for all
/// of this time, and a message of the maximum size for half of it. So the largest of several waiting messages is discarded
/// first.
const ROOM_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the time for which a message of `bytes` bytes waits for room, where `most` bytes are allowed.
pub(crate) fn room_timeout(bytes: usize, most: usize) -> Duration {
    let most = most.max(1);
    let share = bytes.min(most) as f64 / most as f64;
    ROOM_TIMEOUT.mul_f64(1.0 - share / 2.0)
}

/// The names of the limits.
pub(crate) const PER_CONNECTION: &str = "max_memory_bytes_per_connection";
pub(crate) const IN_TOTAL: &str = "max_memory_bytes";

/// Returns `true` if `bytes` more bytes exceed a budget by no more than a half.
fn admits_half_more(used: usize, bytes: usize, limit: usize) -> bool {
    used.saturating_add(bytes) <= limit.saturating_add(limit / 2)
}

/// The budget of a server, or of a client.
#[derive(Debug)]
pub(crate) struct ServerMemory {
    limit: usize,
    limit_per_connection: usize,
    network_share: Share,
    used: AtomicUsize,
    networks: Mutex<HashMap<IpAddr, Weak<NetworkMemory>>>,
}

/// The memory of the connections of one network.
#[derive(Debug)]
struct NetworkMemory {
    used: AtomicUsize,
    /// `None` for connections within the process.
    network: Option<IpAddr>,
    server: Arc<ServerMemory>,
}

/// The budget of a connection.
#[derive(Debug)]
pub(crate) struct ConnectionMemory {
    limit: usize,
    used: AtomicUsize,
    /// The part of the server's budget that this connection has taken, in bytes: `used`, rounded up to chunks.
    taken: AtomicUsize,
    taking: Mutex<()>,
    network: Arc<NetworkMemory>,
    /// Notified when the connection's own budget has room again.
    freed: Notify,
    /// Notified when the connection waits for room. `shortage` wakes one task, and `waits` wakes all waiting tasks.
    shortage: Notify,
    waits: Notify,
    /// Number of bytes held for messages that have begun and are not complete.
    partial: AtomicUsize,
    requests: ParsedMessages,
    replies: ParsedMessages,
}

/// Counts the large messages of one kind that are parsed and not answered yet.
#[derive(Debug, Default)]
struct ParsedMessages {
    count: AtomicUsize,
    /// Notified when a parsed message is answered.
    answered: Notify,
}

/// The kind of a parsed message. Each kind is counted separately, since the handler of a request may wait for a reply.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ParsedKind {
    /// A handler answers the message.
    Request,
    /// The message is decoded at once.
    Reply,
}

/// Counts a message that has begun and is not complete, until this is dropped.
pub(crate) struct PartialMessage<'a> {
    memory: &'a ConnectionMemory,
    bytes: usize,
}

impl Drop for PartialMessage<'_> {
    fn drop(&mut self) {
        self.memory.partial.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts a large message that is parsed and not answered yet, until this is dropped.
#[derive(Debug)]
pub(crate) struct ParsedMessage(Arc<ConnectionMemory>, ParsedKind);

impl ParsedMessage {
    /// Enters a message whose values may take up to `bytes` bytes, if the budget has room for them. The first message of
    /// each kind is always entered.
    pub(crate) fn enter(
        memory: &Arc<ConnectionMemory>,
        kind: ParsedKind,
        bytes: usize,
    ) -> Option<Self> {
        let count = &memory.parsed(kind).count;
        let others = count.fetch_add(1, Ordering::AcqRel);
        let has_room = memory.used().saturating_add(bytes) <= memory.limit;
        if others == 0 || has_room && !memory.network.is_full() {
            return Some(Self(Arc::clone(memory), kind));
        }
        // `answered` is not notified here, since waiting messages would wake each other forever.
        count.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// Enters a message whose values may take up to `bytes` bytes. Waits for the replies to other messages until there is
    /// room.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(crate) async fn wait(
        memory: &Arc<ConnectionMemory>,
        kind: ParsedKind,
        bytes: usize,
    ) -> Self {
        loop {
            let answered = memory.parsed(kind).answered.notified();
            if let Some(parsed) = Self::enter(memory, kind, bytes) {
                return parsed;
            }
            answered.await;
        }
    }

    /// Waits for a request as [`wait`](Self::wait) does, while the replies depend on handlers and may take long. Checks for
    /// room at intervals, too, since this connection and other connections of the network may release other memory.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    ///
    /// # Panics
    /// Panics if it waits outside a tokio runtime with timers.
    pub(crate) async fn wait_for_handlers(memory: &Arc<ConnectionMemory>, bytes: usize) -> Self {
        let mut pause = SERVER_POLL;
        loop {
            let waiting = Self::wait(memory, ParsedKind::Request, bytes);
            if let Ok(parsed) = timeout(pause, waiting).await {
                return parsed;
            }
            pause = LONGEST_POLL.min(2 * pause);
        }
    }
}

impl Drop for ParsedMessage {
    fn drop(&mut self) {
        let parsed = self.0.parsed(self.1);
        parsed.count.fetch_sub(1, Ordering::AcqRel);
        parsed.answered.notify_waiters();
    }
}

/// Counts the memory of a stream that receives lines: a constant, and the line that has begun, if it is large.
#[derive(Debug)]
pub(crate) struct LineCharge {
    charge: MemoryCharge,
    constant: usize,
}

impl LineCharge {
    pub(crate) fn new(memory: &Arc<ConnectionMemory>, constant: usize) -> Self {
        Self {
            charge: MemoryCharge::new(memory, constant),
            constant,
        }
    }

    /// Returns `true` if a line is counted.
    pub(crate) fn has_line(&self) -> bool {
        self.charge.bytes > self.constant
    }

    /// Sets the number of bytes counted for the line that has begun.
    pub(crate) fn set_line(&mut self, bytes: usize) {
        let before = self.charge.bytes - self.constant;
        let partial = &self.charge.memory.partial;
        if bytes > before {
            partial.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            partial.fetch_sub(before - bytes, Ordering::Relaxed);
        }
        self.charge.set(self.constant + bytes);
    }
}

impl Drop for LineCharge {
    fn drop(&mut self) {
        self.set_line(0);
    }
}

/// Counts a number of bytes until this is dropped.
#[derive(Debug)]
pub(crate) struct MemoryCharge {
    memory: Arc<ConnectionMemory>,
    bytes: usize,
}

impl ServerMemory {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            limit: limits.max_memory_bytes,
            limit_per_connection: limits.max_memory_bytes_per_connection,
            network_share: Share::new(PERCENT_PER_NETWORK, limits.max_memory_bytes),
            used: AtomicUsize::new(0),
            networks: Mutex::default(),
        })
    }

    /// Returns the number of bytes held for all connections, rounded up to chunks for each.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the budget of a connection with a peer at `peer`.
    pub(crate) fn connection(self: &Arc<Self>, peer: Option<IpAddr>) -> Arc<ConnectionMemory> {
        Arc::new(ConnectionMemory {
            limit: self.limit_per_connection,
            used: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            taking: Mutex::default(),
            network: self.network(peer.map(prefix::address)),
            freed: Notify::new(),
            shortage: Notify::new(),
            waits: Notify::new(),
            partial: AtomicUsize::new(0),
            requests: ParsedMessages::default(),
            replies: ParsedMessages::default(),
        })
    }

    fn network(self: &Arc<Self>, network: Option<IpAddr>) -> Arc<NetworkMemory> {
        let new = || {
            Arc::new(NetworkMemory {
                used: AtomicUsize::new(0),
                network,
                server: Arc::clone(self),
            })
        };
        let Some(address) = network else {
            return new();
        };
        let mut networks = lock(&self.networks);
        let known = networks.get(&address).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let memory = new();
            networks.insert(address, Arc::downgrade(&memory));
            memory
        })
    }
}

impl NetworkMemory {
    /// Returns `true` if the network holds its share of the server's budget.
    fn is_full(&self) -> bool {
        let free = self.server.limit.saturating_sub(self.server.used());
        let load = self
            .server
            .network_share
            .load(self.used.load(Ordering::Relaxed));
        !admits(load, free)
    }
}

impl Drop for NetworkMemory {
    fn drop(&mut self) {
        let Some(address) = self.network else { return };
        let mut networks = lock(&self.server.networks);
        // A new connection of the network may have been added in the meantime.
        if networks
            .get(&address)
            .is_some_and(|memory| memory.strong_count() == 0)
        {
            networks.remove(&address);
        }
    }
}

impl ConnectionMemory {
    fn parsed(&self, kind: ParsedKind) -> &ParsedMessages {
        match kind {
            ParsedKind::Request => &self.requests,
            ParsedKind::Reply => &self.replies,
        }
    }

    /// Returns `true` while a large reply is decoded.
    pub(crate) fn is_decoding(&self) -> bool {
        self.replies.count.load(Ordering::Acquire) > 0
    }

    /// Returns the number of bytes held for the connection.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of bytes that may be held for the connection.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the budget that has no room for `bytes` bytes: that of the connection, or that of the server, of which the
    /// connection's network has a share.
    pub(crate) fn full_budget(&self, bytes: usize) -> FullBudget {
        let is_its_own = self.used().saturating_add(bytes) > self.limit;
        FullBudget::new(is_its_own || !self.network.is_full())
    }

    /// Returns the budget that has no room for a reply of `bytes` bytes, which [`admits_reply`](Self::admits_reply) rejects.
    pub(crate) fn full_budget_of_replies(&self, bytes: usize) -> FullBudget {
        FullBudget::new(!admits_half_more(self.used(), bytes, self.limit))
    }

    /// Returns the limit of a budget.
    pub(crate) fn limit_of(&self, budget: FullBudget) -> Setting {
        match budget {
            FullBudget::OfConnection => Setting::new(PER_CONNECTION, self.limit),
            FullBudget::InTotal => Setting::new(IN_TOTAL, self.whole().limit),
        }
    }

    /// Returns the budget of the server or client to which this budget belongs.
    pub(crate) fn whole(&self) -> &Arc<ServerMemory> {
        &self.network.server
    }

    /// Returns `true` if incomplete messages hold most of the used memory.
    pub(crate) fn is_mostly_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed) > self.used() / 2
    }

    /// Returns `true` if incomplete messages use up the connection's budget: all else, apart from `unread` bytes of windows,
    /// holds less than a quarter of it.
    pub(crate) fn is_used_up_by_partial(&self, unread: usize) -> bool {
        let partial = self.partial.load(Ordering::Relaxed);
        let others = self.used().saturating_sub(partial.saturating_add(unread));
        others < self.limit / 4 && !self.network.is_full()
    }

    /// Returns `true` if the connection must not be read.
    pub(crate) fn is_full(&self) -> bool {
        self.is_over_its_own() || self.network.is_full()
    }

    /// Returns `true` if the connection uses at least this number of quarters of its budget, or if its network has used up
    /// its share.
    pub(crate) fn is_used_to(&self, quarters: usize) -> bool {
        self.used() >= self.limit / 4 * quarters || self.network.is_full()
    }

    /// Returns `true` if a reply or item of `bytes` bytes may be held in addition. Replies may exceed the budget by a half,
    /// since calls that run when it is used up still have to be answered.
    pub(crate) fn admits_reply(&self, bytes: usize) -> bool {
        let server = self.whole();
        admits_half_more(self.used(), bytes, self.limit)
            && admits_half_more(server.used(), bytes, server.limit)
    }

    fn is_over_its_own(&self) -> bool {
        self.used() >= self.limit
    }

    /// Records that `bytes` bytes are held for a message that has begun, until the returned value is dropped.
    pub(crate) fn partial_message(&self, bytes: usize) -> PartialMessage<'_> {
        self.partial.fetch_add(bytes, Ordering::Relaxed);
        PartialMessage {
            memory: self,
            bytes,
        }
    }

    /// Waits until the connection may be read again.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(crate) async fn has_room(&self) {
        self.shortage.notify_one();
        self.waits.notify_waiters();
        let mut pause = SERVER_POLL;
        loop {
            let freed = self.freed.notified();
            if self.is_over_its_own() {
                freed.await;
            } else if self.network.is_full() {
                self.return_chunks();
                sleep(pause).await;
                pause = LONGEST_POLL.min(2 * pause);
            } else {
                return;
            }
        }
    }

    /// Resolves when an incomplete message must be discarded. This is the case if the connection has had no room for the
    /// given time, and incomplete messages hold most of the used memory. While running calls hold most of it, this waits for
    /// them.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(crate) async fn lacks_room(&self, wait: Duration) {
        loop {
            let waits = self.waits.notified();
            if !self.is_full() {
                waits.await;
            }
            sleep(wait).await;
            if self.is_full() && self.is_mostly_partial() {
                return;
            }
        }
    }

    /// Resolves when the connection waits for room.
    pub(crate) async fn shortage(&self) {
        self.shortage.notified().await;
    }

    /// Counts `bytes` bytes in place of the `counted` bytes that were counted before.
    pub(crate) fn count(&self, counted: &mut usize, bytes: usize) {
        let before = std::mem::replace(counted, bytes);
        if bytes > before {
            self.add(bytes - before);
        } else if bytes < before {
            self.subtract(before - bytes);
        }
    }

    fn add(&self, bytes: usize) {
        #[cfg(any(test, feature = "__fuzzing"))]
        counted::add(bytes);
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.taken.load(Ordering::Relaxed) {
            self.take();
        }
    }

    fn subtract(&self, bytes: usize) {
        #[cfg(any(test, feature = "__fuzzing"))]
        counted::subtract(bytes);
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        let used = before - bytes;
        if used + 2 * CHUNK_BYTES <= self.taken.load(Ordering::Relaxed) {
            self.take();
        }
        if before >= self.limit && used < self.limit {
            self.freed.notify_waiters();
        }
    }

    /// Returns unused chunks to the server's budget. A busy connection keeps up to two unused chunks.
    pub(crate) fn return_chunks(&self) {
        if self.used().next_multiple_of(CHUNK_BYTES) < self.taken.load(Ordering::Relaxed) {
            self.take();
        }
    }

    /// Takes chunks from the server's budget, or returns them, according to the used memory.
    #[cold]
    fn take(&self) {
        let _taking = lock(&self.taking);
        let taken = self.taken.load(Ordering::Relaxed);
        let needed = self.used().next_multiple_of(CHUNK_BYTES);
        self.taken.store(needed, Ordering::Relaxed);
        for used in [&self.network.used, &self.network.server.used] {
            if needed > taken {
                used.fetch_add(needed - taken, Ordering::Relaxed);
            } else {
                used.fetch_sub(taken - needed, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for ConnectionMemory {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut();
        for used in [&self.network.used, &self.network.server.used] {
            used.fetch_sub(taken, Ordering::Relaxed);
        }
    }
}

impl MemoryCharge {
    /// Creates a charge that counts `bytes` bytes.
    pub(crate) fn new(memory: &Arc<ConnectionMemory>, bytes: usize) -> Self {
        let mut charge = Self {
            memory: Arc::clone(memory),
            bytes: 0,
        };
        charge.set(bytes);
        charge
    }

    /// Returns the number of counted bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets the number of counted bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        let Self {
            memory,
            bytes: counted,
        } = self;
        memory.count(counted, bytes);
    }
}

impl Drop for MemoryCharge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The bytes that this thread counts for all connections, which tests compare with the allocated bytes.
#[cfg(any(test, feature = "__fuzzing"))]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(bytes: usize) {
        // Wraps, since other threads may have counted the bytes that this thread subtracts.
        BYTES.set(self::bytes().wrapping_add(bytes));
    }

    pub(super) fn subtract(bytes: usize) {
        BYTES.set(self::bytes().wrapping_sub(bytes));
    }

    /// Returns the number of counted bytes, provided that no other thread counts any.
    pub(crate) fn bytes() -> usize {
        BYTES.get()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    const CHUNK: usize = CHUNK_BYTES;

    fn server(memory: usize, memory_per_connection: usize) -> Arc<ServerMemory> {
        let limits = Limits {
            max_memory_bytes: memory,
            max_memory_bytes_per_connection: memory_per_connection,
            ..Limits::default()
        };
        ServerMemory::new(&limits)
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn connection_at_its_budget_is_full_until_some_is_free() {
        let server = server(100 * CHUNK, 1000);
        let connection = server.connection(address(1));
        let mut charge = MemoryCharge::new(&connection, 999);
        assert!(!connection.is_full());
        let one_more = MemoryCharge::new(&connection, 1);
        assert!(connection.is_full());
        let mut room = Box::pin(connection.has_room());
        assert!((&mut room).now_or_never().is_none());
        charge.set(998);
        assert!(room.now_or_never().is_some());
        drop((charge, one_more));
        assert_eq!(connection.used(), 0);
    }

    /// Counts chunks for a connection until it is full. Returns their number.
    fn fill(connection: &Arc<ConnectionMemory>, charges: &mut Vec<MemoryCharge>) -> usize {
        let before = connection.whole().used();
        while !connection.is_full() {
            charges.push(MemoryCharge::new(connection, CHUNK));
        }
        (connection.whole().used() - before) / CHUNK
    }

    #[test]
    fn network_holds_half_of_the_budget_and_less_the_more_others_hold() {
        let server = server(64 * CHUNK, usize::MAX);
        let mut charges = Vec::new();
        let first = [server.connection(address(1)), server.connection(address(1))];
        assert_eq!(fill(&first[0], &mut charges), 32);
        assert!(first[1].is_full());
        // A network holds less than 2 · free² / 64 before it takes one more.
        assert_eq!(fill(&server.connection(address(2)), &mut charges), 13);
        assert_eq!(fill(&server.connection(address(3)), &mut charges), 6);
        assert!(!server.connection(address(4)).is_full());
    }

    #[test]
    fn newcomer_finds_a_hundredth_of_the_budget_behind_40_networks_that_hold_all_they_can() {
        let server = server(3200 * CHUNK, usize::MAX);
        let mut charges = Vec::new();
        for network in 1..=40 {
            fill(&server.connection(address(network)), &mut charges);
        }
        let free = (server.limit - server.used()) / CHUNK;
        assert!(free >= 32, "{free} chunks are free");
        assert!(fill(&server.connection(address(41)), &mut charges) > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_leave_their_chunks_to_one_that_waits() {
        let server = server(2 * CHUNK, usize::MAX);
        let both = [server.connection(address(1)), server.connection(address(1))];
        for connection in &both {
            drop(MemoryCharge::new(connection, CHUNK));
        }
        assert_eq!(server.used(), 2 * CHUNK, "chunks that nothing uses");
        assert!(both[0].is_full());
        both[1].return_chunks();
        timeout(2 * SERVER_POLL, both[0].has_room()).await.unwrap();
        assert_eq!(server.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn message_that_waits_for_long_checks_seldom_whether_there_is_room() {
        let server = server(2 * CHUNK, usize::MAX);
        let both = [server.connection(address(1)), server.connection(address(1))];
        let charges = both
            .each_ref()
            .map(|memory| MemoryCharge::new(memory, CHUNK));
        let polls = AtomicUsize::new(0);
        let mut room = pin!(both[0].has_room());
        let counted = poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            room.as_mut().poll(cx)
        });
        let mut counted = pin!(counted);
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, &mut counted).await.is_err());
        let polls = polls.load(Ordering::Relaxed);
        assert!(polls < 4 * 3600, "{polls} checks in an hour");
        drop(charges);
        both[1].return_chunks();
        timeout(2 * LONGEST_POLL, counted).await.unwrap();
    }

    #[test]
    fn budget_that_is_full_is_that_of_the_connection_or_that_of_the_server() {
        let server = server(4 * CHUNK, 3 * CHUNK);
        let both = [server.connection(address(1)), server.connection(address(1))];
        let full = |memory: &ConnectionMemory| memory.limit_of(memory.full_budget(1));
        let of_replies = |memory: &ConnectionMemory, bytes| {
            memory.limit_of(memory.full_budget_of_replies(bytes))
        };
        let (own, whole) = (
            Setting::new("max_memory_bytes_per_connection", 3 * CHUNK),
            Setting::new("max_memory_bytes", 4 * CHUNK),
        );
        let _half = MemoryCharge::new(&both[0], 2 * CHUNK);
        assert!(both[0].is_full() && both[1].is_full());
        assert_eq!([full(&both[0]), full(&both[1])], [whole, whole]);
        let _rest = MemoryCharge::new(&both[0], CHUNK);
        assert_eq!([full(&both[0]), full(&both[1])], [own, whole]);
        assert!(!both[1].admits_reply(4 * CHUNK));
        assert_eq!(of_replies(&both[1], 4 * CHUNK), whole);
        assert_eq!(of_replies(&both[1], 5 * CHUNK), own);
    }

    #[test]
    fn network_is_forgotten_with_its_last_connection() {
        let server = server(64 * CHUNK, usize::MAX);
        let both = [server.connection(address(1)), server.connection(address(1))];
        let within = server.connection(None);
        assert_eq!(lock(&server.networks).len(), 1);
        let [first, second] = both;
        drop(first);
        assert_eq!(lock(&server.networks).len(), 1);
        drop((second, within));
        assert_eq!(lock(&server.networks).len(), 0);
    }

    proptest! {
        /// Connections take from the server's budget what they use, in chunks, and return all of it when they are dropped.
        #[test]
        fn server_counts_what_its_connections_use(
            steps in prop::collection::vec((0usize..3, 0usize..4, 0usize..300_000), 0..60),
        ) {
            let server = server(usize::MAX, usize::MAX);
            let connections = [1, 1, 2].map(|last| server.connection(address(last)));
            let mut charges: Vec<Vec<MemoryCharge>> = connections
                .iter()
                .map(|memory| (0..4).map(|_| MemoryCharge::new(memory, 0)).collect())
                .collect();
            for (connection, charge, bytes) in steps {
                charges[connection][charge].set(bytes);
                let used: usize = connections.iter().map(|memory| memory.used()).sum();
                prop_assert!(server.used() >= used);
                prop_assert!(server.used() < used + 3 * 2 * CHUNK);
            }
            drop(charges);
            prop_assert!(connections.iter().all(|memory| memory.used() == 0));
            drop(connections);
            prop_assert_eq!(server.used(), 0);
        }
    }
}
