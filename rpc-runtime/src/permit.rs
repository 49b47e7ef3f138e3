//! Permits for running calls, and the slot in which a running call keeps its permit.

pub(crate) mod call_limits;
mod server_permits;
mod wait_queue;

use std::sync::Arc;

use crate::permit::call_limits::ConnectionCalls;
use crate::sync::{Mutex, get_mut, lock};

/// A permit to run one call, held until its handler has ended.
#[derive(Debug)]
pub(crate) struct Permit {
    calls: Arc<ConnectionCalls>,
    /// `true` if the call counts towards the limit of the server, and not only of its connection.
    is_on_server: bool,
}

impl Permit {
    /// Returns a permit if the call can start at once.
    pub(crate) fn try_obtain(calls: &Arc<ConnectionCalls>) -> Option<Self> {
        calls.try_take().then(|| Self::taken(calls))
    }

    /// Waits for a permit. Returns `None` once the connection starts no more calls. Cancel safe.
    pub(crate) async fn obtain(calls: &Arc<ConnectionCalls>) -> Option<Self> {
        calls.take().await.then(|| Self::taken(calls))
    }

    fn taken(calls: &Arc<ConnectionCalls>) -> Self {
        Self {
            calls: Arc::clone(calls),
            is_on_server: true,
        }
    }

    /// Releases the server's permit, since a stream of items may last as long as its connection.
    fn release_server(&mut self) {
        if std::mem::take(&mut self.is_on_server) {
            self.calls.release_server();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release_server();
        self.calls.release_connection();
    }
}

/// Holds the permit of a running call.
///
/// A blocking handler takes the permit to its thread, so the call counts until the thread has finished, even if the call has
/// been cancelled.
#[derive(Debug, Default)]
pub(crate) struct PermitSlot(Mutex<Option<Permit>>);

impl PermitSlot {
    pub(crate) fn new(permit: Option<Permit>) -> Self {
        Self(Mutex::new(permit))
    }

    pub(crate) fn take(&self) -> Option<Permit> {
        lock(&self.0).take()
    }

    /// Stores `permit` and releases the previous one.
    pub(crate) fn put(&self, permit: Option<Permit>) {
        let mut slot = lock(&self.0);
        let former = std::mem::replace(&mut *slot, permit);
        drop(slot);
        drop(former);
    }

    /// Releases the permit.
    pub(crate) fn release(&mut self) {
        *get_mut(&mut self.0) = None;
    }

    /// Releases the server's permit and keeps the connection's permit.
    pub(crate) fn release_server(&self) {
        let mut slot = lock(&self.0);
        slot.iter_mut().for_each(Permit::release_server);
    }

    /// Returns `true` if the slot holds the permit, and no blocking handler has taken it to its thread.
    pub(crate) fn is_here(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Returns `true` if the slot holds a permit, or if it can obtain one at once.
    #[inline]
    pub(crate) fn try_fill(&mut self, calls: &Arc<ConnectionCalls>) -> bool {
        let slot = get_mut(&mut self.0);
        slot.is_some() || {
            *slot = Permit::try_obtain(calls);
            slot.is_some()
        }
    }
}
