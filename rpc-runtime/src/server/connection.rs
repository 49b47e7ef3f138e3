//! What the workers of a connection share: its streams, its permits, its limits.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustc_hash::FxBuildHasher;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::codec::id::Id;
use crate::codec::reply::Reply;
use crate::codec::request::{CancelParams, RequestEnd};
use crate::codec::steps;
use crate::context::{ConnectionContext, Context};
use crate::description::discover::DiscoverOptions;
use crate::idle::{Activity, IdleWatch};
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, MemoryCharge, ServerMemory};
use crate::permit::Permit;
use crate::permit::call_limits::{CallLimits, ConnectionCalls};
use crate::server::buffers::{EntryBuffers, WorkerBuffers};
use crate::server::discover::DiscoverReply;
use crate::server::id_index::HashedId;
use crate::server::limits::abuse::AbuseLimits;
use crate::server::limits::send_budget::SendBudget;
use crate::server::recv::Receiver;
use crate::server::shutdown::{Phase, UnackedStreams};
use crate::server::stream::ServerStream;
use crate::service::router::{MethodNames, Router};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::transport::{self, SendStream, quic};

/// How many workers' buffers a connection keeps for its next streams.
const SPARE_BUFFERS: usize = 4;

/// How many quarters of its budget a connection may hold for its receive window to be widened.
const UNREAD_QUARTERS: usize = 3;

/// How long a connection that waits for room keeps its idle buffers after they were released last.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How often a drain looks for streams that were opened before their client knew of it.
const DRAIN_ROUNDS: usize = 3;

/// More calls than any machine runs at once, and as many as a semaphore counts.
const MAX_CALLS: usize = 1 << 28;

/// What all connections of a server share.
pub(super) struct ServerShared<R> {
    router: R,
    names: MethodNames,
    /// By number, whether a method takes items; empty, if none does.
    takes_upload: Box<[bool]>,
    limits: Limits,
    calls: Arc<CallLimits>,
    memory: Arc<ServerMemory>,
    phase: watch::Receiver<Phase>,
    discover_reply: DiscoverReply,
}

impl<R: Router> ServerShared<R> {
    pub(super) fn new(
        router: R,
        (mut limits, memory): (Limits, Arc<ServerMemory>),
        discover: DiscoverOptions,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        limits.max_concurrent_calls = limits.max_concurrent_calls.clamp(1, MAX_CALLS);
        limits.max_concurrent_calls_per_connection = limits
            .max_concurrent_calls_per_connection
            .clamp(1, MAX_CALLS);
        Self {
            router,
            names: MethodNames::of::<R>(),
            takes_upload: takes_upload::<R>(),
            calls: CallLimits::new(&limits),
            memory,
            limits,
            phase,
            discover_reply: DiscoverReply::new(discover),
        }
    }
}

impl<R> ServerShared<R> {
    /// Returns a new budget for a connection with this peer.
    pub(super) fn memory(&self, peer: Option<SocketAddr>) -> Arc<ConnectionMemory> {
        self.memory.connection(peer.map(|peer| peer.ip()))
    }
}

fn takes_upload<R: Router>() -> Box<[bool]> {
    let services = R::descriptions();
    let methods = services.iter().flat_map(|service| service.methods);
    let takes_upload = methods.filter(|method| method.upload.is_some());
    let numbers: Vec<_> = takes_upload
        .filter_map(|method| R::find(method.name))
        .collect();
    let count = numbers.iter().max().map_or(0, |last| last + 1);
    (0..count).map(|number| numbers.contains(&number)).collect()
}

/// Starts a worker that holds the receiver of a stream.
pub(super) type StartWorker<R> = fn(Arc<ServerConnection<R>>, Arc<ServerStream>, Box<Receiver>);

/// A connection, shared by its workers.
pub(super) struct ServerConnection<R> {
    shared: Arc<ServerShared<R>>,
    context: Arc<ConnectionContext>,
    /// Dangling for messages that come some other way.
    transport: Weak<transport::Connection>,
    /// Kept as a pointer, since a worker, too, starts the next one.
    start_worker: StartWorker<R>,
    /// The calls of this connection.
    calls: Arc<ConnectionCalls>,
    streams: Mutex<Streams>,
    spare_buffers: Mutex<Vec<WorkerBuffers>>,
    memory: Arc<ConnectionMemory>,
    send_budget: Arc<SendBudget>,
    abuse: AbuseLimits,
    idle: IdleWatch,
    /// No more calls are started.
    is_draining: AtomicBool,
}

#[derive(Default)]
struct Streams {
    /// By ID; datagrams by [`DATAGRAMS`].
    open: HashMap<u64, Arc<ServerStream>, FxBuildHasher>,
    unacked: UnackedStreams,
    /// Whether replies may be missing on one that has ended.
    is_truncated: bool,
    /// The highest ID of the bidirectional streams that the peer has opened.
    last_id: Option<u64>,
    /// Cancellations that arrived before the stream of their requests.
    early: BTreeSet<CancelOfLaterStream>,
}

/// No stream has this ID: they have 62 bits (RFC 9000, section 2.1).
const DATAGRAMS: u64 = u64::MAX;

/// A cancellation of a request on a stream that is not open yet. The first stream to be opened is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CancelOfLaterStream {
    stream: u64,
    offset: u64,
    id: u64,
}

/// The number of cancellations of a connection that may wait for the streams of their requests.
const MAX_EARLY_CANCELS: usize = 1024;

impl Streams {
    /// Enters a stream, with the cancellations that were waiting for it.
    fn open(&mut self, stream: &Arc<ServerStream>) {
        let stream_id = stream.id().unwrap_or(DATAGRAMS);
        self.open.insert(stream_id, Arc::clone(stream));
        if stream.id().is_none() || !stream.is_bidirectional() {
            return;
        }
        self.last_id = self.last_id.max(Some(stream_id));
        while let Some(early) = self.early.first().filter(|early| early.stream <= stream_id) {
            if early.stream == stream_id {
                let id = HashedId::new(Id::Unsigned(early.id));
                stream.in_flight.cancel(id, Some(early.offset));
            }
            steps::step();
            self.early.pop_first();
        }
    }

    /// Removes a stream that is over; `false` if it was removed before.
    fn remove(&mut self, stream: &ServerStream) -> bool {
        let stream_id = stream.id().unwrap_or(DATAGRAMS);
        self.open.remove(&stream_id).is_some()
    }

    /// Cancels the call whose request ends there, now or when it comes.
    fn cancel_at(&mut self, id: HashedId<'_>, end: RequestEnd) {
        let RequestEnd { stream, offset } = end;
        if let Some(stream) = self.open.get(&stream) {
            return stream.in_flight.cancel(id, Some(offset));
        }
        // Streams are opened in the order of their IDs (RFC 9000, section 2.1): this one is over, or is still to come.
        let is_to_come = self.last_id.is_none_or(|last| stream > last);
        if let Id::Unsigned(id) = id.id
            && is_to_come
            && self.early.len() < MAX_EARLY_CANCELS
        {
            self.early
                .insert(CancelOfLaterStream { stream, offset, id });
        }
    }
}

impl<R: Router> ServerConnection<R> {
    pub(super) fn new(
        shared: Arc<ServerShared<R>>,
        memory: Arc<ConnectionMemory>,
        context: Arc<ConnectionContext>,
        transport: Weak<transport::Connection>,
        start_worker: StartWorker<R>,
    ) -> Arc<Self> {
        let peer = context.peer.current().map(|peer| peer.ip());
        Arc::new(Self {
            calls: shared.calls.connect(peer),
            context,
            transport,
            start_worker,
            streams: Mutex::default(),
            spare_buffers: Mutex::default(),
            send_budget: Arc::new(SendBudget::new(&shared.limits, Arc::clone(&memory))),
            memory,
            abuse: AbuseLimits::new(&shared.limits),
            idle: IdleWatch::default(),
            is_draining: AtomicBool::new(false),
            shared,
        })
    }

    /// Returns what all connections of the server share.
    pub(super) fn shared(&self) -> &Arc<ServerShared<R>> {
        &self.shared
    }

    /// Returns the number of the method with this name.
    pub(super) fn find(&self, method: &str) -> Option<u32> {
        self.shared.names.find::<R>(method)
    }

    pub(super) fn router(&self) -> &R {
        &self.shared.router
    }

    /// Whether the caller of this method sends items.
    pub(super) fn takes_upload(&self, method: u32) -> bool {
        let takes_upload = self.shared.takes_upload.get(method as usize);
        takes_upload.copied().unwrap_or(false)
    }

    pub(super) fn discover_reply(&self) -> &DiscoverReply {
        &self.shared.discover_reply
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(super) fn memory(&self) -> &Arc<ConnectionMemory> {
        &self.memory
    }

    pub(super) fn send_budget(&self) -> &Arc<SendBudget> {
        &self.send_budget
    }

    pub(super) fn abuse(&self) -> &AbuseLimits {
        &self.abuse
    }

    pub(super) fn idle(&self) -> &IdleWatch {
        &self.idle
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        lock(&self.streams)
    }

    fn spare_buffers(&self) -> MutexGuard<'_, Vec<WorkerBuffers>> {
        lock(&self.spare_buffers)
    }
}

/// Streams and their workers.
impl<R: Router> ServerConnection<R> {
    /// Enters a stream that the peer has opened, and starts its first worker.
    pub(super) fn open(self: &Arc<Self>, send: Option<SendStream>, receiver: Box<Receiver>) {
        let stream = ServerStream::new(receiver.stream_id(), send, Arc::clone(&self.send_budget));
        self.streams().open(&stream);
        self.start_worker(&stream, receiver);
    }

    /// Starts a worker that holds the receiver.
    pub(super) fn start_worker(
        self: &Arc<Self>,
        stream: &Arc<ServerStream>,
        receiver: Box<Receiver>,
    ) {
        (self.start_worker)(Arc::clone(self), Arc::clone(stream), receiver);
    }

    /// Records that a worker of `stream` has ended because the stream is over.
    pub(super) fn worker_ended(&self, buffers: WorkerBuffers, stream: &Arc<ServerStream>) {
        let mut streams = self.streams();
        let is_first = streams.remove(stream);
        if is_first {
            streams.is_truncated |= stream.is_truncated();
            if let Some(unacked) = stream.unacked() {
                streams.unacked.push(unacked);
            }
        }
        drop(streams);
        // Stopping after some items is not abuse, and a stream that this side has reset is counted elsewhere.
        let is_cancelled = stream.is_reset() && !stream.is_truncated();
        let is_empty = !stream.in_flight.has_settled();
        if is_first && (is_cancelled || is_empty) && !stream.has_sent_items() {
            self.abuse.record_wasted();
        }
        let mut spare = self.spare_buffers();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }

    /// Buffers for a new worker.
    pub(super) fn worker_buffers(&self) -> WorkerBuffers {
        let spare = self.spare_buffers().pop();
        spare.unwrap_or_else(|| {
            WorkerBuffers::new(self.limits(), Arc::clone(&self.context), &self.memory)
        })
    }

    /// Buffers for an entry of a batch.
    pub(super) fn entry_buffers(&self) -> EntryBuffers {
        EntryBuffers {
            context: Context::new(Arc::clone(&self.context)),
            reply: Reply::new(self.limits().max_response_bytes),
        }
    }

    /// Widens the connection's receive window by a stream that may stay unread, unless too much is held already.
    pub(super) fn make_room(&self) -> Option<(quic::Room, MemoryCharge)> {
        if self.memory.is_used_to(UNREAD_QUARTERS) {
            return None;
        }
        let room = self.transport.upgrade()?.make_room()?;
        let charge = MemoryCharge::new(&self.memory, room.bytes());
        Some((room, charge))
    }

    /// Releases idle buffers: those of unused streams and workers each second, all of them when the connection becomes idle or
    /// waits for room in its budget. Does not end.
    pub(super) async fn release_buffers(&self) {
        let when_idle = async {
            loop {
                match self.idle.next().await {
                    Activity::GoesOn => self.release_unused_buffers(),
                    Activity::Ended => self.release_idle_buffers(),
                }
            }
        };
        let when_short = async {
            loop {
                self.memory.shortage().await;
                self.release_idle_buffers();
                sleep(SHORTAGE_PAUSE).await;
            }
        };
        tokio::join!(when_idle, when_short);
    }

    /// Releases the buffers that were not used since the last time.
    fn release_unused_buffers(&self) {
        let streams = self.streams();
        let open = streams.open.values();
        open.for_each(|stream| stream.release_unused());
        self.memory.return_chunks();
    }

    /// Releases all buffers that are not in use.
    fn release_idle_buffers(&self) {
        *self.spare_buffers() = Vec::new();
        let mut streams = self.streams();
        streams.unacked.release_idle_buffers();
        streams.open.shrink_to_fit();
        streams
            .open
            .values()
            .for_each(|stream| stream.release_idle_buffers());
        self.memory.return_chunks();
    }

    /// Records that a message was discarded for want of memory.
    pub(super) fn record_discarded(&self) {
        let peer = self.context.peer.current();
        tracing::warn!(
            target: "rpc_runtime::server",
            ?peer,
            held = self.memory.used(),
            setting = self.limits().max_memory_bytes_per_connection,
            "message discarded at the memory limit"
        );
        self.abuse.record_timed_out_message();
    }
}

/// Calls.
impl<R: Router> ServerConnection<R> {
    /// A permit, if there is one at once.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Permit::try_obtain(&self.calls)
    }

    /// Waits for a permit, and while too many replies wait to be sent; `None` once the connection starts no more calls.
    pub(super) async fn wait_for_permit(&self) -> Option<Permit> {
        self.send_budget.has_room().await;
        Permit::obtain(&self.calls).await
    }

    /// Cancels a call, as a message on the stream `carrier` demands. That counts, also if it finds no call.
    ///
    /// A cancellation that names the stream and the offset of its request has the same effect whichever stream carries it,
    /// before and after its request. One without finds waiting calls of its own stream, or of all streams if it comes on a
    /// stream that has none.
    pub(super) fn cancel(&self, carrier: &ServerStream, cancel: CancelParams<'_>) {
        self.abuse.record_wasted();
        let CancelParams { id, request_end } = cancel;
        let id = HashedId::new(id);
        match request_end {
            Some(end) => self.streams().cancel_at(id, end),
            None if carrier.is_bidirectional() => carrier.in_flight.cancel(id, None),
            None => {
                let streams = self.streams();
                let calls = streams.open.values().map(|stream| &stream.in_flight);
                let waiting = calls.filter(|calls| {
                    steps::step();
                    !calls.is_empty()
                });
                waiting.for_each(|calls| calls.cancel(id, None));
            }
        }
    }
}

/// The end of a connection.
impl<R: Router> ServerConnection<R> {
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Resolves when the server has reached `phase`; never, if it is dropped before.
    pub(super) async fn reaches(&self, phase: Phase) {
        let mut phases = self.shared.phase.clone();
        if phases.wait_for(|reached| *reached >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends all streams of items, each behind the item that it has come to. Returns whether there were any.
    pub(super) fn end_streaming(&self) -> bool {
        let streams = self.streams();
        let stopped = streams.open.values();
        stopped.fold(false, |found, stream| {
            found | stream.in_flight.stop_streaming()
        })
    }

    /// Lets running calls end and be answered, and rejects new ones. Resolves when all replies have arrived; returns whether
    /// none is missing.
    pub(super) async fn drain(&self) -> bool {
        self.is_draining.store(true, Ordering::Relaxed);
        self.calls.drain().await;
        // The first round is for replies. The others let rejections arrive, too: a client that has heard of the drain need
        // not hear the close, of which nothing would tell it again.
        for _ in 0..DRAIN_ROUNDS {
            let (open, unacked) = {
                let mut streams = self.streams();
                let open: Vec<_> = streams.open.values().cloned().collect();
                (open, streams.unacked.take())
            };
            for stream in open {
                stream.close().await;
            }
            for stream in unacked {
                stream.await;
            }
        }
        let streams = self.streams();
        !streams.is_truncated && !streams.open.values().any(|stream| stream.is_truncated())
    }

    /// Cancels all calls: the connection is gone.
    pub(super) fn abort(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.calls.close();
        self.streams()
            .open
            .values()
            .for_each(|stream| stream.reset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_of_requests_on_streams_that_never_open_are_bounded() {
        let mut streams = Streams::default();
        for id in 0..2 * MAX_EARLY_CANCELS as u64 {
            let end = RequestEnd {
                stream: 4 * id,
                offset: 10,
            };
            streams.cancel_at(HashedId::new(Id::Unsigned(id)), end);
        }
        assert_eq!(streams.early.len(), MAX_EARLY_CANCELS);
    }

    #[test]
    fn cancel_of_a_request_on_a_stream_that_is_over_leaves_nothing() {
        let mut streams = Streams {
            last_id: Some(8),
            ..Streams::default()
        };
        for (stream, kept) in [(4, 0), (8, 0), (12, 1)] {
            let end = RequestEnd { stream, offset: 10 };
            streams.cancel_at(HashedId::new(Id::Unsigned(7)), end);
            assert_eq!(streams.early.len(), kept, "stream {stream}");
        }
    }
}
