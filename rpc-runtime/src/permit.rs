//! Permits for running calls, and the slot in which a running call keeps its permit.

use tokio::sync::OwnedSemaphorePermit;

use crate::sync::{Mutex, get_mut, lock};

/// A permit to run one call, held until its handler has ended.
#[derive(Debug)]
pub(crate) struct Permit {
    _connection: OwnedSemaphorePermit,
    server: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Creates a permit that counts on its connection and on the whole server.
    pub(crate) fn new(connection: OwnedSemaphorePermit, server: OwnedSemaphorePermit) -> Self {
        Self {
            _connection: connection,
            server: Some(server),
        }
    }

    /// Releases the server's permit: a stream of items may last as long as its connection.
    fn release_server(&mut self) {
        self.server = None;
    }
}

/// Holds the permit of a running call.
///
/// A blocking handler takes the permit along to its thread, so that the call counts until the thread has finished, even if
/// the call has been cancelled meanwhile.
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

    /// Releases the server's permit and keeps that of the connection.
    pub(crate) fn release_server(&self) {
        let mut slot = lock(&self.0);
        slot.iter_mut().for_each(Permit::release_server);
    }

    /// Whether the permit is here, and not with a blocking handler on its thread.
    pub(crate) fn is_here(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(crate) fn is_held(&mut self) -> bool {
        get_mut(&mut self.0).is_some()
    }
}
