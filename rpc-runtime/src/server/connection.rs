//! The state that the workers of a connection share: its streams, permits and limits.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustc_hash::FxBuildHasher;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::codec::error_code::{FullBudget, ProtocolError, Setting};
use crate::codec::id::Id;
use crate::codec::reply::Reply;
use crate::codec::request::{CancelParams, Request, RequestEnd};
use crate::codec::steps;
use crate::context::{ConnectionContext, Context};
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::event_limit::LOGGED_WAIT;
use crate::idle::{Activity, IdleWatch};
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, MemoryCharge, ServerMemory};
use crate::permit::Permit;
use crate::permit::call_limits::{CallLimits, ConnectionCalls};
use crate::server::buffers::{EntryBuffers, WorkerBuffers};
use crate::server::discover::DiscoverReply;
use crate::server::health::HealthStates;
use crate::server::id_index::HashedId;
use crate::server::limits::abuse::AbuseLimits;
use crate::server::limits::send_budget::SendBudget;
use crate::server::observe::LimitReports;
use crate::server::recv::Receiver;
use crate::server::shutdown::{Phase, UnackedStreams};
use crate::server::stream::ServerStream;
use crate::service::router::{MethodNames, Router};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::transport::{self, SendStream, quic};

/// Maximum number of workers whose buffers a connection keeps for its next streams.
const SPARE_BUFFERS: usize = 4;

/// Number of quarters of its budget from which on a connection's receive window is not widened.
const UNREAD_QUARTERS: usize = 3;

/// Minimum time between two releases of idle buffers of a connection that waits for room.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// Maximum size of a reply or item, in bytes, for which there is always room.
const SMALL_REPLY_BYTES: usize = 16 << 10;

/// Number of times that a drain closes the open streams. Clients may open streams before they learn of the drain.
const DRAIN_ROUNDS: usize = 3;

/// An effectively unlimited number of calls, which a semaphore can count.
const MAX_CALLS: usize = 1 << 28;

/// What the state that all connections of a server share is made of, besides its services.
pub(super) struct SharedSettings {
    pub(super) limits: Limits,
    pub(super) memory: Arc<ServerMemory>,
    pub(super) discover: DiscoverOptions,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) events: EventHook,
    pub(super) health: Arc<HealthStates>,
}

/// The state that all connections of a server share.
pub(super) struct ServerShared<R> {
    router: R,
    names: MethodNames,
    /// `true` for each method, by number, that takes items; empty if no method does.
    takes_upload: Box<[bool]>,
    limits: Limits,
    calls: Arc<CallLimits>,
    memory: Arc<ServerMemory>,
    phase: watch::Receiver<Phase>,
    discover_reply: DiscoverReply,
    limit_reports: LimitReports,
    health: Arc<HealthStates>,
}

impl<R: Router> ServerShared<R> {
    pub(super) fn new(router: R, settings: SharedSettings) -> Self {
        let SharedSettings {
            mut limits,
            memory,
            discover,
            phase,
            events,
            health,
        } = settings;
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
            limit_reports: LimitReports::new(events),
            health,
        }
    }
}

impl<R> ServerShared<R> {
    pub(super) fn limit_reports(&self) -> &LimitReports {
        &self.limit_reports
    }

    /// Returns a new memory budget for a connection with this peer.
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
    /// Dangling for messages that were received without a connection.
    transport: Weak<transport::Connection>,
    /// A function pointer, since a worker starts the next worker through the connection.
    start_worker: StartWorker<R>,
    /// The calls of this connection.
    calls: Arc<ConnectionCalls>,
    streams: Mutex<Streams>,
    spare_buffers: Mutex<Vec<WorkerBuffers>>,
    memory: Arc<ConnectionMemory>,
    send_budget: Arc<SendBudget>,
    abuse: AbuseLimits,
    idle: IdleWatch,
    /// `true` if no more calls are started.
    is_draining: AtomicBool,
    /// `true` once a reply was dropped because there was no room for it.
    has_dropped_reply: AtomicBool,
}

#[derive(Default)]
struct Streams {
    /// Streams by ID; datagrams have the ID [`DATAGRAMS`].
    open: HashMap<u64, Arc<ServerStream>, FxBuildHasher>,
    unacked: UnackedStreams,
    /// `true` if replies may be missing on a stream that has ended.
    is_truncated: bool,
    /// The highest ID of the bidirectional streams that the peer has opened.
    last_id: Option<u64>,
    /// Cancellations that arrived before the stream of their requests.
    early: BTreeSet<CancelOfLaterStream>,
}

/// An ID that no stream has, since stream IDs have 62 bits (RFC 9000, section 2.1).
const DATAGRAMS: u64 = u64::MAX;

/// A cancellation of a request on a stream that is not open yet. Ordered by stream, in the order in which streams are
/// opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct CancelOfLaterStream {
    stream: u64,
    offset: u64,
    id: u64,
}

/// Maximum number of cancellations of a connection that wait for the streams of their requests.
const MAX_EARLY_CANCELS: usize = 1024;

impl Streams {
    /// Adds a stream, and gives it the cancellations that were waiting for it.
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

    /// Removes a stream that is over. Returns `false` if it was removed before.
    fn remove(&mut self, stream: &ServerStream) -> bool {
        let stream_id = stream.id().unwrap_or(DATAGRAMS);
        self.open.remove(&stream_id).is_some()
    }

    /// Cancels the call whose request ends at `end`, now or once the request arrives.
    fn cancel_at(&mut self, id: HashedId<'_>, end: RequestEnd) {
        let RequestEnd { stream, offset } = end;
        if let Some(stream) = self.open.get(&stream) {
            return stream.in_flight.cancel(id, Some(offset));
        }
        // Streams are opened in the order of their IDs (RFC 9000, section 2.1), so this stream is over or will be opened
        // later.
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
            has_dropped_reply: AtomicBool::new(false),
            shared,
        })
    }

    /// Returns the state that all connections of the server share.
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

    /// Returns `true` if the caller of this method sends items.
    pub(super) fn takes_upload(&self, method: u32) -> bool {
        let takes_upload = self.shared.takes_upload.get(method as usize);
        takes_upload.copied().unwrap_or(false)
    }

    /// Returns the context of a new call.
    pub(super) fn context(&self) -> Context {
        Context::new(Arc::clone(&self.context))
    }

    pub(super) fn discover_reply(&self) -> &DiscoverReply {
        &self.shared.discover_reply
    }

    /// Answers `rpc.health`.
    pub(super) fn answer_health(&self, request: &Request<'_, '_>, reply: &mut Reply) {
        let is_draining = self.is_draining() || *self.shared.phase.borrow() >= Phase::Draining;
        self.shared.health.answer(request, is_draining, reply);
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
    /// Adds a stream that the peer has opened, and starts its first worker.
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
        // A client that stops a stream after some items does not waste work. Streams that this side has reset are counted
        // elsewhere.
        let is_cancelled = stream.is_reset() && !stream.is_truncated();
        let is_empty = !stream.in_flight.has_processed();
        if is_first && (is_cancelled || is_empty) && !stream.has_sent_items() {
            self.abuse.record_wasted();
        }
        let mut spare = self.spare_buffers();
        if spare.len() < SPARE_BUFFERS {
            spare.push(buffers);
        }
    }

    /// Returns buffers for a new worker.
    pub(super) fn worker_buffers(&self) -> WorkerBuffers {
        let spare = self.spare_buffers().pop();
        spare.unwrap_or_else(|| {
            WorkerBuffers::new(self.limits(), Arc::clone(&self.context), &self.memory)
        })
    }

    /// Returns buffers for an entry of a batch.
    pub(super) fn entry_buffers(&self) -> EntryBuffers {
        EntryBuffers {
            context: self.context(),
            reply: Reply::new(self.limits().max_response_bytes),
        }
    }

    /// Widens the connection's receive window for a stream that may stay unread, unless too much memory is in use.
    pub(super) fn make_room(&self) -> Option<(quic::Room, MemoryCharge)> {
        if self.memory.is_used_to(UNREAD_QUARTERS) {
            return None;
        }
        let room = self.transport.upgrade()?.make_room()?;
        let charge = MemoryCharge::new(&self.memory, room.bytes());
        Some((room, charge))
    }

    /// Releases idle buffers; never resolves. The buffers of unused streams and workers are released each second. All idle
    /// buffers are released when the connection becomes idle or waits for room in its budget.
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

    /// Releases the buffers that were not used since the last call.
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

    /// Records that a message was discarded because there was no room for it.
    pub(super) fn record_discarded(&self, full: FullBudget) {
        let peer = self.context.peer.current();
        let Setting { name, value } = self.memory.limit_of(full);
        tracing::warn!(
            target: "rpc_runtime::server",
            ?peer,
            limit = name,
            held = self.memory.used(),
            setting = value,
            "message discarded at the memory limit"
        );
        self.abuse.record_timed_out_message();
    }
}

/// Calls.
impl<R: Router> ServerConnection<R> {
    /// Returns an error if the connection has no room for a reply or item of `bytes` bytes. Small ones always have room.
    pub(super) fn check_room(&self, bytes: usize) -> Result<(), ProtocolError> {
        match bytes {
            ..=SMALL_REPLY_BYTES => Ok(()),
            _ => self.check_room_for_any(bytes),
        }
    }

    /// Returns an error if the connection has no room for a reply or item of any size.
    pub(super) fn check_room_for_any(&self, bytes: usize) -> Result<(), ProtocolError> {
        match self.memory.admits_reply(bytes) {
            true => Ok(()),
            false => Err(self.no_room_for_reply(bytes)),
        }
    }

    /// Reports that the connection has no room for a reply or item, and returns the error.
    #[cold]
    fn no_room_for_reply(&self, bytes: usize) -> ProtocolError {
        let full = self.memory.full_budget_of_replies(bytes);
        let limit = self.memory.limit_of(full);
        let error = ProtocolError::NoRoomForReply(limit);
        self.report_rejected(error);
        // One event for each connection, since a client can cause many.
        if !self.has_dropped_reply.swap(true, Ordering::Relaxed) {
            let peer = self.context.peer.current();
            tracing::warn!(
                target: "rpc_runtime::server",
                ?peer,
                limit = limit.name,
                held = self.memory.used(),
                setting = limit.value,
                "replies dropped at the memory limit"
            );
        }
        error
    }

    /// Returns a permit if one is available at once.
    pub(super) fn try_permit(&self) -> Option<Permit> {
        Permit::try_obtain(&self.calls)
    }

    /// Waits for a permit, and until the unsent replies are below their limit. Returns `None` once the connection starts no
    /// more calls.
    pub(super) async fn wait_for_permit(&self) -> Option<Permit> {
        let obtain = async {
            self.send_budget.has_room().await;
            Permit::obtain(&self.calls).await
        };
        self.report_wait(self.reached_limit(), obtain, Option::is_some)
            .await
    }

    /// Waits for room for the rest of a large message that has begun.
    pub(super) async fn wait_for_room(&self) {
        let limit = self.memory.limit_of(self.memory.full_budget(0));
        let room = self.memory.has_room();
        self.report_wait(limit, room, |()| true).await;
    }

    /// Reports that a call waits for a limit, until `wait` resolves. `has_started` returns `true` if the call then starts.
    pub(super) async fn report_wait<T>(
        &self,
        limit: Setting,
        wait: impl Future<Output = T>,
        has_started: impl FnOnce(&T) -> bool,
    ) -> T {
        let mut report = self.shared.limit_reports.begin_wait(limit.into());
        let mut wait = pin!(wait);
        let waited = tokio::select! {
            biased;
            waited = &mut wait => waited,
            () = self.logged_wait() => {
                report.log(self.context.peer.current());
                wait.await
            }
        };
        report.has_started = has_started(&waited);
        waited
    }

    /// Returns the error of a message for which a budget had no room.
    pub(super) fn memory_limit(&self, full: FullBudget) -> ProtocolError {
        ProtocolError::MemoryLimit(self.memory.limit_of(full))
    }

    /// Returns `true` if the messages arrive on a connection, so that there are timers.
    pub(super) fn is_connected(&self) -> bool {
        self.transport.strong_count() > 0
    }

    /// Resolves when a call has waited for so long that it is logged.
    async fn logged_wait(&self) {
        match self.is_connected() {
            true => sleep(LOGGED_WAIT).await,
            false => std::future::pending().await,
        }
    }

    /// Returns the limit for which a call that cannot start has to wait.
    pub(super) fn reached_limit(&self) -> Setting {
        if self.send_budget.is_full() {
            let value = self.limits().max_unsent_bytes_per_connection;
            return Setting::new("max_unsent_bytes_per_connection", value);
        }
        self.calls.reached_limit(self.limits())
    }

    /// Reports that a message was answered with an error, if it is the error of a limit.
    #[cold]
    pub(super) fn report_rejected(&self, error: ProtocolError) {
        let limit = match error {
            ProtocolError::RequestTooLarge(limit)
            | ProtocolError::ReplyTooLarge(limit)
            | ProtocolError::TooManyCalls(limit)
            | ProtocolError::BatchTooLarge(limit)
            | ProtocolError::NoRoomForReply(limit)
            | ProtocolError::MemoryLimit(limit) => limit,
            _ => return,
        };
        let peer = self.context.peer.current();
        let reports = &self.shared.limit_reports;
        reports.rejected(peer, limit.into(), error.code());
    }

    pub(super) fn request_too_large(&self) -> ProtocolError {
        let limit = self.limits().max_request_bytes;
        ProtocolError::RequestTooLarge(Setting::new("max_request_bytes", limit))
    }

    pub(super) fn batch_too_large(&self) -> ProtocolError {
        let limit = self.limits().max_batch_entries;
        ProtocolError::BatchTooLarge(Setting::new("max_batch_entries", limit))
    }

    /// Reports that a call is rejected since it would have to wait, and returns the error.
    #[cold]
    pub(super) fn too_many_calls(&self) -> ProtocolError {
        let error = ProtocolError::TooManyCalls(self.reached_limit());
        self.report_rejected(error);
        error
    }

    /// Cancels a call for a cancellation that was received on the stream `carrier`. The cancellation counts as wasted work
    /// even if it finds no call.
    ///
    /// A cancellation that names the stream and the offset of its request has the same effect on every stream, and before
    /// and after its request. Any other cancellation finds waiting calls of its own stream. If it arrives on a
    /// unidirectional stream, it finds waiting calls of all streams.
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

    /// Resolves when the server has reached `phase`. Never resolves if the server is dropped before.
    pub(super) async fn reaches(&self, phase: Phase) {
        let mut phases = self.shared.phase.clone();
        if phases.wait_for(|reached| *reached >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends all streams of items, each after its current item. Returns `true` if there were any.
    pub(super) fn end_streaming(&self) -> bool {
        let streams = self.streams();
        let stopped = streams.open.values();
        stopped.fold(false, |found, stream| {
            found | stream.in_flight.stop_streaming()
        })
    }

    /// Lets running calls end and reply, and rejects new calls. Resolves when all replies have arrived, to `true` if none is
    /// missing.
    pub(super) async fn drain(&self) -> bool {
        self.is_draining.store(true, Ordering::Relaxed);
        self.calls.drain().await;
        // The first round waits for replies. The other rounds wait for rejections as well. They tell a client of the drain
        // even if it misses the close of the connection, which is not sent again.
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

    /// Cancels all calls, because the connection has ended.
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
