//! What the workers of a connection share: its lanes, its calls and their limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::codec::id::Id;
use crate::codec::reply::Reply;
use crate::codec::request::CancelParams;
use crate::context::{ConnectionContext, Context};
use crate::description::discover::DiscoverOptions;
use crate::idle::IdleWatch;
use crate::limits::Limits;
use crate::server::buffers::{EntryBuffers, WorkerBuffers};
use crate::server::discover::DiscoverReply;
use crate::server::in_flight::Early;
use crate::server::limits::abuse::AbuseLimits;
use crate::server::limits::send_budget::SendBudget;
use crate::server::shutdown::{Phase, UnackedStreams};
use crate::server::stream::ServerStream;
use crate::service::Router;
use crate::transport::{self, SendStream, quic};

/// How many workers' buffers a connection keeps for its next streams.
const SPARE: usize = 4;

/// How often a drain looks for streams that were opened before their client knew of it.
const FAREWELLS: usize = 3;

/// More calls than any machine runs at once, and as many as can be counted.
const MOST_CALLS: usize = 1 << 28;

/// What all connections of a server share.
pub(super) struct ServerShared<R> {
    pub(super) router: R,
    pub(super) limits: Limits,
    /// InFlight in flight on all connections.
    pub(super) calls: Arc<Semaphore>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) discovered: DiscoverReply,
}

impl<R> ServerShared<R> {
    pub(super) fn new(
        router: R,
        mut limits: Limits,
        discovery: DiscoverOptions,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        limits.calls = limits.calls.clamp(1, MOST_CALLS);
        limits.calls_per_connection = limits.calls_per_connection.clamp(1, MOST_CALLS);
        let calls = Arc::new(Semaphore::new(limits.calls));
        Self {
            router,
            limits,
            calls,
            phase,
            discovered: DiscoverReply::new(discovery),
        }
    }
}

pub(super) struct ServerConnection<R> {
    shared: Arc<ServerShared<R>>,
    context: Arc<ConnectionContext>,
    /// None in the hands of a `Responder`.
    transport: Weak<transport::Connection>,
    /// InFlight in flight on this connection.
    calls: Arc<Semaphore>,
    streams: Mutex<Streams>,
    spare: Mutex<Vec<WorkerBuffers>>,
    early: Early,
    backlog: Arc<SendBudget>,
    conduct: AbuseLimits,
    quiet: IdleWatch,
    /// No more calls are started.
    draining: AtomicBool,
}

#[derive(Default)]
struct Streams {
    lanes: Vec<Arc<ServerStream>>,
    leaving: UnackedStreams,
    /// One of those that are gone was cut off.
    cut_off: bool,
}

/// The right to run a call, held until its handler has ended.
pub(super) struct Permit {
    _connection: OwnedSemaphorePermit,
    _process: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Counts on its connection alone: it may last for as long as that.
    pub(super) fn leave_the_server(&mut self) {
        self._process = None;
    }
}

impl<R: Router> ServerConnection<R> {
    pub(super) fn new(
        shared: Arc<ServerShared<R>>,
        context: Arc<ConnectionContext>,
        transport: Weak<transport::Connection>,
    ) -> Arc<Self> {
        let calls = Arc::new(Semaphore::new(shared.limits.calls_per_connection));
        Arc::new(Self {
            context,
            transport,
            calls,
            streams: Mutex::default(),
            spare: Mutex::default(),
            early: Early::default(),
            backlog: Arc::new(SendBudget::new(&shared.limits)),
            conduct: AbuseLimits::new(&shared.limits),
            quiet: IdleWatch::default(),
            draining: AtomicBool::new(false),
            shared,
        })
    }

    /// Enters a stream.
    pub(super) fn open(&self, send: Option<SendStream>) -> Arc<ServerStream> {
        let lane = ServerStream::new(send, Arc::clone(&self.backlog));
        self.streams().lanes.push(Arc::clone(&lane));
        lane
    }

    /// Room for a stream that may stay unread.
    pub(super) fn make_room(&self) -> Option<quic::Room> {
        self.transport.upgrade()?.make_room()
    }

    /// Resolves when the server is so far; never, if it is dropped before.
    pub(super) async fn reaches(&self, phase: Phase) {
        let mut phases = self.shared.phase.clone();
        if phases.wait_for(|reached| *reached >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends all streams of items, each behind the item that it has come to. Says whether there were any.
    pub(super) fn end_streams(&self) -> bool {
        let mut found = false;
        for lane in &self.streams().lanes {
            found |= lane.calls.end_streams();
        }
        found
    }

    /// Lets what runs end and be answered, and refuses what comes. Resolves when all answers have arrived; says whether
    /// none was given up.
    pub(super) async fn drain(&self) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        let all = self.limits().calls_per_connection as u32;
        let idle = self.calls.acquire_many(all).await;
        // Whoever waits for a permit is refused now.
        self.calls.close();
        drop(idle);
        // The first time is for answers. The others let refusals arrive, too: a client that has heard of the drain need not
        // hear the close, of which nobody would tell it again.
        for _ in 0..FAREWELLS {
            let (lanes, leaving) = {
                let mut streams = self.streams();
                (streams.lanes.clone(), streams.leaving.take())
            };
            for lane in lanes {
                lane.close().await;
            }
            for stream in leaving {
                stream.await;
            }
        }
        let streams = self.streams();
        !streams.cut_off && !streams.lanes.iter().any(|lane| lane.is_cut_off())
    }

    /// The connection is no more: what runs is dropped.
    pub(super) fn kill(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.calls.close();
        self.streams().lanes.iter().for_each(|lane| lane.kill());
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<WorkerBuffers>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn router(&self) -> &R {
        &self.shared.router
    }

    pub(super) fn discovered(&self) -> &DiscoverReply {
        &self.shared.discovered
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(super) fn backlog(&self) -> &Arc<SendBudget> {
        &self.backlog
    }

    pub(super) fn conduct(&self) -> &AbuseLimits {
        &self.conduct
    }

    pub(super) fn quiet(&self) -> &IdleWatch {
        &self.quiet
    }

    /// Keeps nothing for more to come while nothing comes. Does not end.
    pub(super) async fn rest_when_quiet(&self) {
        loop {
            self.quiet.returns().await;
            *self.spare() = Vec::new();
            self.streams().leaving.rest();
            self.streams().lanes.iter().for_each(|lane| lane.quieten());
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Cancels a call: of the same stream, or, from a stream without a way back, of any.
    pub(super) fn cancel(&self, lane: &ServerStream, CancelParams { id, early }: CancelParams<'_>) {
        if lane.has_way_back() {
            if lane.calls.cancel(id) {
                self.conduct.cancelled();
            }
            self.early.forget(id);
            return;
        }
        // Remembered before it is looked for: a call that comes in between finds it one way or the other.
        if early {
            self.early.remember(id);
        }
        let mut found = false;
        for lane in &self.streams().lanes {
            found |= lane.calls.cancel(id);
        }
        if found {
            self.conduct.cancelled();
            self.early.forget(id);
        }
    }

    /// Whether a call was cancelled before it was read.
    pub(super) fn was_cancelled(&self, id: Option<Id<'_>>) -> bool {
        id.is_some_and(|id| self.early.forget(id))
    }

    pub(super) fn try_permit(&self) -> Option<Permit> {
        Some(Permit {
            _connection: Arc::clone(&self.calls).try_acquire_owned().ok()?,
            _process: Some(Arc::clone(&self.shared.calls).try_acquire_owned().ok()?),
        })
    }

    /// Waits for a permit, and until replies have left if too many wait; `None` once the connection takes no more calls.
    pub(super) async fn wait_for_permit(&self) -> Option<Permit> {
        self.backlog.has_room().await;
        Some(Permit {
            _connection: Arc::clone(&self.calls).acquire_owned().await.ok()?,
            _process: Some(Arc::clone(&self.shared.calls).acquire_owned().await.ok()?),
        })
    }

    /// Buffers for a new worker.
    pub(super) fn scratch(&self) -> WorkerBuffers {
        let spare = self.spare().pop();
        spare.unwrap_or_else(|| WorkerBuffers::new(self.limits(), Arc::clone(&self.context)))
    }

    /// Buffers for an entry of a batch.
    pub(super) fn desk(&self) -> EntryBuffers {
        EntryBuffers {
            context: Context::new(Arc::clone(&self.context)),
            reply: Reply::new(self.limits().reply),
        }
    }

    /// A worker of `lane` has ended: its stream is over.
    pub(super) fn put_back(&self, scratch: WorkerBuffers, lane: &Arc<ServerStream>) {
        let was_first = {
            let mut streams = self.streams();
            let before = streams.lanes.len();
            streams.lanes.retain(|other| !Arc::ptr_eq(other, lane));
            let was_first = streams.lanes.len() < before;
            if was_first {
                streams.cut_off |= lane.is_cut_off();
                if let Some(stopped) = lane.last_replies() {
                    streams.leaving.push(stopped);
                }
            }
            was_first
        };
        // Whoever takes some items and then no more had what it asked for.
        if was_first && lane.is_killed() && !lane.has_sent_items() {
            self.conduct.cancelled();
        }
        let mut spare = self.spare();
        if spare.len() < SPARE {
            spare.push(scratch);
        }
    }
}
