//! The state of a client, and the list of the connections that take calls.

use std::sync::Arc;

use tokio::sync::watch;

use crate::client::balance::p2c::pick;
use crate::client::connection::ClientConnection;
use crate::client::dial::ConnectError;
use crate::client::error::{CallFailure, Execution};
use crate::transport::ConnectionError;

/// The state of a [`Client`](crate::Client)'s connection. [`Client::state`](crate::Client::state) returns it, and
/// [`Client::watch_state`](crate::Client::watch_state) reports each change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The client has not connected yet, and does so when it makes its first call
    /// ([`connect_lazy`](crate::ClientBuilder::connect_lazy)).
    Idle,
    /// The client is connected and sends calls at once.
    Connected,
    /// The client is connecting, for the first time, or because the connection was lost or its server is shutting down.
    ///
    /// The client tries again after any error, since a certificate or an address can be corrected. A program that does not
    /// want this closes the client.
    #[non_exhaustive]
    Connecting {
        /// The reason why the last connection was lost; `None` if there was no connection yet.
        lost: Option<ConnectionError>,
        /// The error of the last attempt to connect; `None` until an attempt has failed.
        error: Option<Arc<ConnectError>>,
    },
    /// The client is closed: there is no connection, and none will be made.
    Closed(ConnectionError),
}

/// Reports the changes of a client's state. [`Client::watch_state`](crate::Client::watch_state) returns a watch.
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
///             ConnectionState::Connecting { lost: Some(lost), error: None, .. } => println!("lost: {lost}"),
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
    /// The version of the last state that was returned.
    version: u64,
}

impl StateWatch {
    pub(super) fn new(status: watch::Receiver<Status>) -> Self {
        let version = status.borrow().version;
        Self { status, version }
    }

    /// Waits for the next change and returns the new state, or `None` after it has returned [`ConnectionState::Closed`].
    ///
    /// If several changes follow each other quickly, only the last state is returned.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
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

/// Returns the reason why a call has failed whose client never had a connection.
pub(super) fn never_connected() -> ConnectionError {
    ConnectionError::Transport("there was no connection yet".into())
}

/// Returns the state of a client, or of one of its servers, that was never connected.
pub(super) fn connecting(error: Option<Arc<ConnectError>>) -> ConnectionState {
    ConnectionState::Connecting { lost: None, error }
}

/// The status of a client that every call reads.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) state: ConnectionState,
    /// The connections that take calls: at least one while the state is [`ConnectionState::Connected`].
    pub(super) connections: Vec<Arc<ClientConnection>>,
    /// Number of changes of the list of servers, for a client of several servers.
    changes: u64,
    /// Number of changes of the state.
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

    pub(super) fn unconnected() -> Self {
        Self::disconnected(connecting(None))
    }

    pub(super) fn disconnected(state: ConnectionState) -> Self {
        Self::new(state, Vec::new(), 0)
    }

    pub(super) fn closed(reason: ConnectionError) -> Self {
        Self::disconnected(ConnectionState::Closed(reason))
    }

    /// Swaps itself with `current`, unless `current` is closed, or is newer and this status is not closed. Returns `true` if
    /// it did.
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

    /// Returns the reason for a call whose time was over while it waited for a connection.
    #[cold]
    pub(super) fn not_connected(&self) -> ConnectionError {
        let reason = match &self.state {
            ConnectionState::Closed(reason) => return reason.clone(),
            ConnectionState::Connecting { lost, error } => {
                let lost = lost.clone().unwrap_or_else(never_connected);
                match error {
                    Some(error) => format!("{lost}; the last attempt to connect failed: {error}"),
                    None => format!("{lost}; no attempt to connect has ended"),
                }
            }
            ConnectionState::Idle => "no attempt to connect has ended".into(),
            ConnectionState::Connected => "the connection takes no calls".into(),
        };
        ConnectionError::NotConnected(reason)
    }

    /// Picks the connection of a call; not `failed`, if possible. Returns `None` if the call must wait for a connection, and
    /// an error if it must not.
    #[inline]
    pub(super) fn pick(
        &self,
        failed: Option<&Arc<ClientConnection>>,
        waits: bool,
    ) -> Option<Result<Arc<ClientConnection>, CallFailure>> {
        if !self.connections.is_empty() {
            return pick(&self.connections, failed).map(|connection| Ok(Arc::clone(connection)));
        }
        let reason = match &self.state {
            ConnectionState::Closed(reason) => reason.clone(),
            ConnectionState::Connecting {
                lost,
                error: Some(_),
            } if !waits => lost.clone().unwrap_or_else(never_connected),
            ConnectionState::Idle
            | ConnectionState::Connecting { .. }
            | ConnectionState::Connected => return None,
        };
        Some(Err(CallFailure::lost(Execution::NotSent, &reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: ConnectionState, changes: u64) -> Status {
        Status::new(state, Vec::new(), changes)
    }

    #[test]
    fn list_of_servers_that_is_older_than_the_current_one_does_not_replace_it() {
        let mut current = status(connecting(None), 1);
        assert!(status(connecting(None), 2).replace(&mut current));
        assert!(!status(ConnectionState::Connected, 1).replace(&mut current));
        assert_eq!(current.changes, 2);
        assert!(!current.is_connected());
        // The state of one server has changed; the list has not.
        assert!(status(ConnectionState::Connected, 2).replace(&mut current));
        assert!(current.is_connected());
    }

    #[test]
    fn close_replaces_any_status_and_is_replaced_by_none() {
        let mut current = status(ConnectionState::Connected, 7);
        assert!(Status::closed(ConnectionError::ClosedHere).replace(&mut current));
        assert!(current.is_closed());
        assert!(!status(ConnectionState::Connected, 8).replace(&mut current));
        assert!(!Status::closed(ConnectionError::Reset).replace(&mut current));
        assert!(matches!(
            current.state,
            ConnectionState::Closed(ConnectionError::ClosedHere)
        ));
    }

    #[test]
    fn version_counts_every_change_except_that_of_a_connected_client_that_stays_connected() {
        let mut current = status(connecting(None), 0);
        let connected = || ConnectionState::Connected;
        for (state, version) in [
            (connecting(None), 1),
            (connected(), 2),
            (connected(), 2),
            (connecting(None), 3),
            (connected(), 4),
        ] {
            assert!(status(state, 0).replace(&mut current));
            assert_eq!(current.version, version);
        }
    }
}
