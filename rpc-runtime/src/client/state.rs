//! Whether there is a connection, and which ones calls leave by.

use std::sync::Arc;

use tokio::sync::watch;

use crate::client::balance::p2c::pick;
use crate::client::builder::ConnectError;
use crate::client::connection::ClientConnection;
use crate::client::error::{CallFailure, Fate};
use crate::transport::ConnectionLost;

/// Whether a [`Client`](crate::Client) has a connection. [`Client::state`](crate::Client::state) tells it,
/// [`Client::watch_state`](crate::Client::watch_state) also when it changes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Calls leave at once.
    Connected,
    /// The connection is lost, or its server is shutting down, and the client connects again. It goes on trying
    /// whatever the error, for a certificate or an address can be mended; whoever knows better looks at it and closes
    /// the client.
    #[non_exhaustive]
    Connecting {
        /// What became of the last connection.
        lost: ConnectionLost,
        /// Why the last attempt to connect failed; `None` while the first is under way.
        error: Option<Arc<ConnectError>>,
    },
    /// There is no connection, and none will come.
    Closed(ConnectionLost),
}

/// Shows what becomes of a client's connection. [`Client::watch_state`](crate::Client::watch_state) makes one.
///
/// ```
/// use rpc_runtime::{Client, ConnectionState, rpc};
///
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() {
/// let client = Client::local(CalculatorServer::new(Desk));
/// let mut states = client.watch_state();
/// let log = tokio::spawn(async move {
///     while let Some(state) = states.changed().await {
///         match state {
///             ConnectionState::Connected => println!("connected"),
///             ConnectionState::Connecting { lost, error: None, .. } => println!("lost: {lost}"),
///             ConnectionState::Connecting { error: Some(error), .. } => println!("still not connected: {error}"),
///             ConnectionState::Closed(reason) => println!("closed: {reason}"),
///             _ => {}
///         }
///     }
/// });
/// client.close().await;
/// log.await.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct StateWatch {
    status: watch::Receiver<Status>,
    /// Of the last state that was told.
    version: u64,
}

impl StateWatch {
    pub(super) fn new(status: watch::Receiver<Status>) -> Self {
        let version = status.borrow().version;
        Self { status, version }
    }

    /// Waits for the next change; `None` once the client is closed and that was told. Of changes that follow each
    /// other quickly only the last is seen.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> Option<ConnectionState> {
        let seen = self.version;
        let changed = self
            .status
            .wait_for(|status| status.version != seen || status.is_closed());
        let status = changed.await.ok()?;
        let is_new = status.version != seen;
        self.version = status.version;
        is_new.then(|| status.state.clone())
    }
}

/// What became of the connection that there never was.
pub(super) fn never_connected() -> ConnectionLost {
    ConnectionLost::Transport("there was no connection yet".into())
}

/// What calls need to know of the connection.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) state: ConnectionState,
    /// Where calls leave: one or more while the state is [`ConnectionState::Connected`].
    pub(super) connections: Vec<Arc<ClientConnection>>,
    /// How often the servers of a client that has several had changed.
    changes: u64,
    /// How often the state has changed.
    version: u64,
}

impl Status {
    pub(super) fn new(
        state: ConnectionState,
        connections: Vec<Arc<ClientConnection>>,
        changes: u64,
    ) -> Self {
        Self {
            state,
            connections,
            changes,
            version: 0,
        }
    }

    pub(super) fn connected(connection: Arc<ClientConnection>) -> Self {
        Self::new(ConnectionState::Connected, vec![connection], 0)
    }

    pub(super) fn disconnected(state: ConnectionState) -> Self {
        Self::new(state, Vec::new(), 0)
    }

    pub(super) fn closed(reason: ConnectionLost) -> Self {
        Self::disconnected(ConnectionState::Closed(reason))
    }

    /// Takes the place of `current`, which is left in its own; not if it is older. What is closed stays so.
    pub(super) fn replace(&mut self, current: &mut Self) -> bool {
        let is_newer = self.is_closed() || self.changes >= current.changes;
        if current.is_closed() || !is_newer {
            return false;
        }
        let stays_connected = current.is_connected() && self.is_connected();
        self.version = current.version + u64::from(!stays_connected);
        std::mem::swap(current, self);
        true
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, ConnectionState::Connected)
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, ConnectionState::Closed(_))
    }

    /// Where a call can leave, best not by `failed`, and not if that takes no more; an error if it should not wait; `None` if it should.
    pub(super) fn offer(
        &self,
        failed: Option<&Arc<ClientConnection>>,
        waits: bool,
    ) -> Option<Result<Arc<ClientConnection>, CallFailure>> {
        if !self.connections.is_empty() {
            return pick(&self.connections, failed).map(|connection| Ok(Arc::clone(connection)));
        }
        let reason = match &self.state {
            ConnectionState::Closed(reason) => reason,
            ConnectionState::Connecting {
                lost,
                error: Some(_),
            } if !waits => lost,
            ConnectionState::Connecting { .. } | ConnectionState::Connected => return None,
        };
        Some(Err(CallFailure::Lost {
            fate: Fate::NotSent,
            reason: reason.clone(),
        }))
    }
}
