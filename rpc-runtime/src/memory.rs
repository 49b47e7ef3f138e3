//! Counts the bytes that a server or a client holds for its peers: by connection, by network and in total.
//!
//! Both halves of a connection count in one budget: the serving half what it holds for the peer's calls, the calling half what
//! it holds for the peer's replies.
//!
//! A connection whose budget is used up is not read until some of it is free again. So is a connection of a network that
//! uses more of the server's budget than there is left: one network may hold half of it, the next one half of the rest, and
//! a newcomer always finds some.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::prefix;
use crate::sync::{Mutex, lock};

/// How many bytes a connection takes from the server's budget at a time, so that connections seldom meet at its counter.
const CHUNK_BYTES: usize = 64 << 10;

/// How often a connection checks whether there is room again where nothing notifies it.
const SERVER_POLL: Duration = Duration::from_millis(20);

/// How long a message that has begun waits for room in the connection's budget: in the first half if it is the largest there
/// may be, and for all of it if it is small. So the largest of those that wait is discarded first.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(2);

/// Returns how long a message of `bytes` waits for room, where `most` are allowed.
pub(crate) fn patience(bytes: usize, most: usize) -> Duration {
    let most = most.max(1);
    let share = bytes.min(most) as f64 / most as f64;
    WAIT_FOR_ROOM.mul_f64(1.0 - share / 2.0)
}

/// The budget of a server, or of a client.
#[derive(Debug)]
pub(crate) struct ServerMemory {
    limit: usize,
    limit_per_connection: usize,
    used: AtomicUsize,
    networks: Mutex<HashMap<IpAddr, Weak<NetworkMemory>>>,
}

/// What the connections of one network hold.
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
    /// The part of the server's budget that this connection has taken: `used`, rounded up to chunks.
    taken: AtomicUsize,
    taking: Mutex<()>,
    network: Arc<NetworkMemory>,
    /// Notified when the connection's own budget has room again.
    freed: Notify,
    /// Notified when the connection waits for room: once, and all that wait.
    shortage: Notify,
    waits: Notify,
    /// The bytes that are held for messages that have begun and are not complete.
    partial: AtomicUsize,
    /// How many large messages are parsed, and not yet answered.
    parsed: AtomicUsize,
    /// Notified when one of them is answered.
    answered: Notify,
}

/// A message that has begun and is not complete.
pub(crate) struct PartialMessage<'a> {
    memory: &'a ConnectionMemory,
    bytes: usize,
}

impl Drop for PartialMessage<'_> {
    fn drop(&mut self) {
        self.memory.partial.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A large message that is parsed, and not yet answered.
#[derive(Debug)]
pub(crate) struct ParsedMessage(Arc<ConnectionMemory>);

impl ParsedMessage {
    /// Enters a message whose values may take so many bytes, if the budget has room for them. There is always room for one.
    pub(crate) fn enter(memory: &Arc<ConnectionMemory>, bytes: usize) -> Option<Self> {
        let others = memory.parsed.fetch_add(1, Ordering::AcqRel);
        let has_room = memory.used().saturating_add(bytes) <= memory.limit;
        if others == 0 || has_room && !memory.network.is_full() {
            return Some(Self(Arc::clone(memory)));
        }
        // Nothing is notified: those that wait would wake each other without an end.
        memory.parsed.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// Enters a message whose values may take so many bytes; waits for the answers to others until there is room.
    ///
    /// Cancel safe.
    pub(crate) async fn wait(memory: &Arc<ConnectionMemory>, bytes: usize) -> Self {
        loop {
            let answered = memory.answered.notified();
            if let Some(parsed) = Self::enter(memory, bytes) {
                return parsed;
            }
            answered.await;
        }
    }

    /// The same where the answers may take their time, as those of handlers: also notices other memory that is released, by
    /// this connection and by others of the network.
    ///
    /// Cancel safe.
    ///
    /// # Panics
    /// When it waits outside a tokio runtime with timers.
    pub(crate) async fn wait_for_handlers(memory: &Arc<ConnectionMemory>, bytes: usize) -> Self {
        loop {
            if let Ok(parsed) = timeout(SERVER_POLL, Self::wait(memory, bytes)).await {
                return parsed;
            }
        }
    }
}

impl Drop for ParsedMessage {
    fn drop(&mut self) {
        self.0.parsed.fetch_sub(1, Ordering::AcqRel);
        self.0.answered.notify_waiters();
    }
}

/// What is counted for a stream whose lines are received: a constant, and the line that has begun, if that is large.
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

    /// Whether a line is counted.
    pub(crate) fn has_line(&self) -> bool {
        self.charge.bytes > self.constant
    }

    /// Counts `bytes` for the line that has begun from now on.
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

/// Bytes that are counted until this is dropped.
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
            used: AtomicUsize::new(0),
            networks: Mutex::default(),
        })
    }

    /// Returns the bytes that are held for all connections, rounded up to chunks for each.
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
            parsed: AtomicUsize::new(0),
            answered: Notify::new(),
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
    /// Whether the network holds as much as is left for others.
    fn is_full(&self) -> bool {
        let left = self.server.limit.saturating_sub(self.server.used());
        self.used.load(Ordering::Relaxed) >= left
    }
}

impl Drop for NetworkMemory {
    fn drop(&mut self) {
        let Some(address) = self.network else { return };
        let mut networks = lock(&self.server.networks);
        // A new connection may have entered the network again meanwhile.
        if networks
            .get(&address)
            .is_some_and(|memory| memory.strong_count() == 0)
        {
            networks.remove(&address);
        }
    }
}

impl ConnectionMemory {
    /// Returns the bytes that are held for the connection.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns how many bytes may be held for the connection.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the budget that this one is a part of.
    pub(crate) fn whole(&self) -> &Arc<ServerMemory> {
        &self.network.server
    }

    /// Whether most of what is used is held for messages that are not complete.
    pub(crate) fn is_mostly_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed) > self.used() / 2
    }

    /// Whether the connection is not to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.is_over_its_own() || self.network.is_full()
    }

    /// Whether the connection uses so many quarters of its budget, or is not to be read.
    pub(crate) fn is_used_to(&self, quarters: usize) -> bool {
        self.used() >= self.limit / 4 * quarters || self.network.is_full()
    }

    fn is_over_its_own(&self) -> bool {
        self.used() >= self.limit
    }

    /// Records that so many bytes are held for a message that has begun, until the value is dropped.
    pub(crate) fn partial_message(&self, bytes: usize) -> PartialMessage<'_> {
        self.partial.fetch_add(bytes, Ordering::Relaxed);
        PartialMessage {
            memory: self,
            bytes,
        }
    }

    /// Waits until the connection may be read again.
    ///
    /// Cancel safe.
    pub(crate) async fn has_room(&self) {
        self.shortage.notify_one();
        self.waits.notify_waiters();
        loop {
            let freed = self.freed.notified();
            if self.is_over_its_own() {
                freed.await;
            } else if self.network.is_full() {
                self.return_chunks();
                sleep(SERVER_POLL).await;
            } else {
                return;
            }
        }
    }

    /// Resolves when a message that is not complete has to be discarded: the connection has had no room for as long as
    /// `patience`, and messages that are not complete hold most of what is used. While calls that run hold most of it, those
    /// are waited for.
    ///
    /// Cancel safe.
    pub(crate) async fn lacks_room(&self, patience: Duration) {
        loop {
            let waits = self.waits.notified();
            if !self.is_full() {
                waits.await;
            }
            sleep(patience).await;
            if self.is_full() && self.is_mostly_partial() {
                return;
            }
        }
    }

    /// Resolves when the connection waits for room.
    pub(crate) async fn shortage(&self) {
        self.shortage.notified().await;
    }

    /// Counts `bytes` where `counted` were counted before.
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

    /// Returns what is taken of the server's budget and not used. A busy connection keeps up to two chunks.
    pub(crate) fn return_chunks(&self) {
        if self.used().next_multiple_of(CHUNK_BYTES) < self.taken.load(Ordering::Relaxed) {
            self.take();
        }
    }

    /// Takes chunks of the server's budget, or returns them.
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
    /// Starts to count at `bytes`.
    pub(crate) fn new(memory: &Arc<ConnectionMemory>, bytes: usize) -> Self {
        let mut charge = Self {
            memory: Arc::clone(memory),
            bytes: 0,
        };
        charge.set(bytes);
        charge
    }

    /// Returns the bytes that are counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts `bytes` from now on.
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

/// What this thread counts for all connections, for tests that hold it against what is allocated.
#[cfg(any(test, feature = "__fuzzing"))]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn add(bytes: usize) {
        // Other threads may have counted what this one subtracts.
        BYTES.set(self::bytes().wrapping_add(bytes));
    }

    pub(super) fn subtract(bytes: usize) {
        BYTES.set(self::bytes().wrapping_sub(bytes));
    }

    /// Returns the bytes that are counted, if no other thread counts any.
    pub(crate) fn bytes() -> usize {
        BYTES.get()
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn network_holds_at_most_as_much_as_is_left_for_others() {
        let server = server(64 * CHUNK, usize::MAX);
        let mut charges = Vec::new();
        let mut fill = |connection: &Arc<ConnectionMemory>| {
            let before = server.used();
            while !connection.is_full() {
                charges.push(MemoryCharge::new(connection, CHUNK));
            }
            (server.used() - before) / CHUNK
        };
        let first = [server.connection(address(1)), server.connection(address(1))];
        assert_eq!(fill(&first[0]), 32);
        assert!(first[1].is_full());
        assert_eq!(fill(&server.connection(address(2))), 16);
        assert_eq!(fill(&server.connection(address(3))), 8);
        assert!(!server.connection(address(4)).is_full());
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
        /// What connections take of the server's budget is what they use, in chunks, and nothing once they are gone.
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
