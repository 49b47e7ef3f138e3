//! What the workers of a connection share: its lanes, its calls and their limits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::backlog::Backlog;
use super::calls::Early;
use super::conduct::Conduct;
use super::lane::Lane;
use super::scratch::{Desk, Scratch};
use crate::context::{ConnectionContext, Context};
use crate::limits::Limits;
use crate::service::Router;
use crate::transport::{self, SendStream, quic};
use crate::wire::id::Id;
use crate::wire::reply::Reply;
use crate::wire::request::Cancellation;

/// How many workers' buffers a connection keeps for its next streams.
const SPARE: usize = 4;

/// What all connections of a server share.
pub(super) struct Shared<R> {
    pub(super) router: R,
    pub(super) limits: Limits,
    /// Calls in flight on all connections.
    pub(super) calls: Arc<Semaphore>,
    /// Turns true when the server shuts down.
    pub(super) draining: watch::Receiver<bool>,
}

pub(super) struct Connection<R> {
    shared: Arc<Shared<R>>,
    context: Arc<ConnectionContext>,
    transport: Option<transport::Connection>,
    /// Calls in flight on this connection.
    calls: Arc<Semaphore>,
    lanes: Mutex<Vec<Arc<Lane>>>,
    spare: Mutex<Vec<Scratch>>,
    early: Early,
    backlog: Arc<Backlog>,
    conduct: Conduct,
    /// No more calls are started.
    draining: AtomicBool,
}

/// The right to run a call, held until its handler has ended.
pub(super) struct Permit {
    _connection: OwnedSemaphorePermit,
    _process: OwnedSemaphorePermit,
}

impl<R: Router> Connection<R> {
    pub(super) fn new(
        shared: Arc<Shared<R>>,
        transport: Option<transport::Connection>,
    ) -> Arc<Self> {
        let seen = transport.as_ref();
        let calls = Arc::new(Semaphore::new(shared.limits.calls_per_connection));
        Arc::new(Self {
            context: Arc::new(ConnectionContext {
                peer: seen.and_then(transport::Connection::remote_address),
                certificate: seen.and_then(transport::Connection::peer_certificate),
                ..Default::default()
            }),
            transport,
            calls,
            lanes: Mutex::default(),
            spare: Mutex::default(),
            early: Early::default(),
            backlog: Arc::new(Backlog::new(&shared.limits)),
            conduct: Conduct::new(&shared.limits),
            draining: AtomicBool::new(false),
            shared,
        })
    }

    /// Enters a stream.
    pub(super) fn open(&self, send: Option<SendStream>) -> Arc<Lane> {
        let lane = Lane::new(send, Arc::clone(&self.backlog));
        self.lanes().push(Arc::clone(&lane));
        lane
    }

    /// Room for a stream that may stay unread.
    pub(super) fn make_room(&self) -> Option<quic::Room> {
        self.transport.as_ref()?.make_room()
    }

    /// Resolves when the server shuts down; never, if it is dropped without.
    pub(super) async fn shutdown(&self) {
        let mut draining = self.shared.draining.clone();
        if draining.wait_for(|draining| *draining).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Lets what runs end and be answered, and refuses what comes. Resolves when all answers have arrived.
    pub(super) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let all = self.limits().calls_per_connection as u32;
        let idle = self.calls.acquire_many(all).await;
        // Whoever waits for a permit is refused now.
        self.calls.close();
        drop(idle);
        let lanes: Vec<_> = self.lanes().clone();
        for lane in lanes {
            lane.close().await;
        }
    }

    /// The connection is no more: what runs is dropped.
    pub(super) fn kill(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.calls.close();
        self.lanes().iter().for_each(|lane| lane.kill());
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn router(&self) -> &R {
        &self.shared.router
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(super) fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    pub(super) fn conduct(&self) -> &Conduct {
        &self.conduct
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Cancels a call: of the same stream, or, from a stream without a way back, of any.
    pub(super) fn cancel(&self, lane: &Lane, Cancellation { id, early }: Cancellation<'_>) {
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
        for lane in self.lanes().iter() {
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
            _process: Arc::clone(&self.shared.calls).try_acquire_owned().ok()?,
        })
    }

    /// Waits for a permit, and until replies have left if too many wait; `None` once the connection takes no more calls.
    pub(super) async fn wait_for_permit(&self) -> Option<Permit> {
        self.backlog.has_room().await;
        Some(Permit {
            _connection: Arc::clone(&self.calls).acquire_owned().await.ok()?,
            _process: Arc::clone(&self.shared.calls).acquire_owned().await.ok()?,
        })
    }

    /// Buffers for a new worker.
    pub(super) fn scratch(&self) -> Scratch {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        spare.unwrap_or_else(|| Scratch::new(self.limits(), Arc::clone(&self.context)))
    }

    /// Buffers for an entry of a batch.
    pub(super) fn desk(&self) -> Desk {
        Desk {
            context: Context::new(Arc::clone(&self.context)),
            reply: Reply::new(self.limits().reply),
        }
    }

    /// A worker of `lane` has ended: its stream is over.
    pub(super) fn put_back(&self, scratch: Scratch, lane: &Arc<Lane>) {
        let was_first = {
            let mut lanes = self.lanes();
            let before = lanes.len();
            lanes.retain(|other| !Arc::ptr_eq(other, lane));
            lanes.len() < before
        };
        if was_first && lane.is_killed() {
            self.conduct.cancelled();
        }
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(scratch);
        }
    }
}
