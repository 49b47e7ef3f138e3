//! The state that the workers of a connection share: its streams, permits and limits.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use crate::codec::error_code::{FullBudget, ProtocolError, Setting};
use crate::codec::reply::Reply;
use crate::codec::request::{CancelParams, Request};
use crate::context::{ConnectionContext, Context};
use crate::event::Limit;
use crate::event_limit::LOGGED_WAIT;
use crate::idle::{Activity, IdleWatch};
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, MemoryCharge};
use crate::permit::call_limits::ConnectionCalls;
use crate::permit::{Permit, PermitSlot};
use crate::phase::Phase;
use crate::server::buffers::{EntryBuffers, WorkerBuffers};
use crate::server::discover::DiscoverReply;
use crate::server::id_index::HashedId;
use crate::server::limits::abuse::AbuseLimits;
use crate::server::limits::send_budget::SendBudget;
use crate::server::recv::Receiver;
use crate::server::shared::ServerShared;
use crate::server::stream::ServerStream;
use crate::server::stream_table::StreamTable;
use crate::service::router::Router;
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
    streams: Mutex<StreamTable>,
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
        self.shared.find(method)
    }

    pub(super) fn router(&self) -> &R {
        &self.shared.router
    }

    /// Returns `true` if the caller of this method sends items.
    pub(super) fn takes_upload(&self, method: u32) -> bool {
        self.shared.takes_upload(method)
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
        let is_ending = self.is_draining() || self.shared.phase.has_reached(Phase::Announced);
        self.shared.health.answer(request, is_ending, reply);
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

    fn streams(&self) -> MutexGuard<'_, StreamTable> {
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
        let is_first = self.streams().remove(stream);
        if is_first && stream.has_write_timed_out() {
            let timeout = self.limits().write_timeout;
            self.report_timeout(Limit::time("write_timeout", timeout));
        }
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

    /// Reports that a stream is reset because nothing was received in time.
    #[cold]
    pub(super) fn report_read_timeout(&self, in_message: bool) {
        let Limits {
            first_byte_timeout,
            message_timeout,
            ..
        } = *self.limits();
        self.report_timeout(match in_message {
            true => Limit::time("message_timeout", message_timeout),
            false => Limit::time("first_byte_timeout", first_byte_timeout),
        });
    }

    fn report_timeout(&self, limit: Limit) {
        let peer = self.context.peer.current();
        self.shared.limit_reports().stream_timed_out(peer, limit);
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
        self.streams().release_unused();
        self.memory.return_chunks();
    }

    /// Releases all buffers that are not in use.
    fn release_idle_buffers(&self) {
        *self.spare_buffers() = Vec::new();
        self.streams().release_idle_buffers();
        self.memory.return_chunks();
    }

    /// Records that a message was discarded because there was no room for it.
    pub(super) fn record_discarded(&self, full: FullBudget) {
        let peer = self.context.peer.current();
        let Setting { name, value } = self.memory.limit_of(full);
        tracing::warn!(
            target: "rpc_runtime::server",
            peer = peer.map(tracing::field::display),
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
            _ if self.memory.admits_reply(bytes) => Ok(()),
            _ => {
                let error = ProtocolError::NoRoomForReply(self.full_of_replies(bytes));
                self.report_replaced(error);
                Err(error)
            }
        }
    }

    /// Returns the limit that leaves no room for a reply of any size among those of its batch; `None` if there is room.
    pub(super) fn full_of_batch(&self, bytes: usize) -> Option<Setting> {
        match self.memory.admits_reply(bytes) {
            true => None,
            false => Some(self.full_of_replies(bytes)),
        }
    }

    fn full_of_replies(&self, bytes: usize) -> Setting {
        let full = self.memory.full_budget_of_replies(bytes);
        self.memory.limit_of(full)
    }

    /// Reports that the error of a limit replaces a reply or item.
    #[cold]
    pub(super) fn report_replaced(&self, error: ProtocolError) {
        self.report_rejected(error);
        let (ProtocolError::NoRoomForReply(limit) | ProtocolError::NoRoomForBatchReply(limit)) =
            error
        else {
            return;
        };
        // One event for each connection, since a client can cause many.
        if !self.has_dropped_reply.swap(true, Ordering::Relaxed) {
            let peer = self.context.peer.current();
            tracing::warn!(
                target: "rpc_runtime::server",
                peer = peer.map(tracing::field::display),
                limit = limit.name,
                held = self.memory.used(),
                setting = limit.value,
                "replies dropped at the memory limit"
            );
        }
    }

    /// Returns `true` if the slot holds a permit, or if it can obtain one at once.
    pub(super) fn try_fill(&self, permit: &mut PermitSlot) -> bool {
        permit.try_fill(&self.calls)
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
        let mut report = self.shared.limit_reports().begin_wait(limit.into());
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
            ProtocolError::TooDeep(limit)
            | ProtocolError::RequestTooLarge(limit)
            | ProtocolError::ReplyTooLarge(limit)
            | ProtocolError::TooManyCalls(limit)
            | ProtocolError::BatchTooLarge(limit)
            | ProtocolError::NoRoomForReply(limit)
            | ProtocolError::BatchReplyTooLarge(limit)
            | ProtocolError::NoRoomForBatchReply(limit)
            | ProtocolError::MemoryLimit(limit) => limit,
            _ => return,
        };
        let peer = self.context.peer.current();
        let reports = self.shared.limit_reports();
        reports.rejected(peer, limit.into(), error.code());
    }

    pub(super) fn request_too_large(&self) -> ProtocolError {
        let limit = self.limits().max_request_bytes;
        ProtocolError::RequestTooLarge(Setting::new("max_request_bytes", limit))
    }

    pub(super) fn too_deep(&self) -> ProtocolError {
        ProtocolError::TooDeep(Setting::new("max_depth", self.limits().max_depth))
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
            None => self.streams().cancel(id),
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
        self.shared.phase.clone().reaches(phase).await;
    }

    /// Ends all streams of items, each after its current item. Returns `true` if there were any.
    pub(super) fn end_streaming(&self) -> bool {
        self.streams().stop_streaming()
    }

    /// Lets running calls end and reply, and rejects new calls. Resolves when all replies have arrived, to `true` if none is
    /// missing.
    pub(super) async fn drain(&self) -> bool {
        self.is_draining.store(true, Ordering::Relaxed);
        self.calls.drain().await;
        // The first round waits for replies. The other rounds wait for rejections as well. They tell a client of the drain
        // even if it misses the close of the connection, which is not sent again.
        for _ in 0..DRAIN_ROUNDS {
            let (open, unacked) = self.streams().take_unacked();
            for stream in open {
                stream.close().await;
            }
            for stream in unacked {
                stream.await;
            }
        }
        !self.streams().is_truncated()
    }

    /// Cancels all calls, because the connection has ended.
    pub(super) fn abort(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.calls.close();
        self.streams().reset();
    }
}
