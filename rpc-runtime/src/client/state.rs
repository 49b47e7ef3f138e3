//! Whether there is a connection, and which one calls leave by.

use std::sync::Arc;

use tokio::sync::watch;

use super::connect::ConnectError;
use super::error::{Fate, NoAnswer};
use super::link::Link;
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
pub struct StateWatch(watch::Receiver<Status>);

impl StateWatch {
    pub(super) fn new(status: &watch::Sender<Status>) -> Self {
        Self(status.subscribe())
    }

    /// Waits for the next change; `None` once the client is closed and that was told. Of changes that follow each
    /// other quickly only the last is seen.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) -> Option<ConnectionState> {
        let is_closed = self.0.borrow().is_closed();
        if is_closed && !self.0.has_changed().unwrap_or(true) {
            return None;
        }
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().state.clone())
    }
}

/// What calls need to know of the connection.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) state: ConnectionState,
    /// Where calls leave while the state is [`ConnectionState::Connected`].
    pub(super) link: Option<Arc<Link>>,
}

impl Status {
    pub(super) fn connected(link: Arc<Link>) -> Self {
        Self {
            state: ConnectionState::Connected,
            link: Some(link),
        }
    }

    pub(super) fn closed(reason: ConnectionLost) -> Self {
        Self {
            state: ConnectionState::Closed(reason),
            link: None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, ConnectionState::Closed(_))
    }

    /// Where a call can leave, if not by `failed`; an error if it should not wait; `None` if it should.
    pub(super) fn offer(
        &self,
        failed: Option<&Arc<Link>>,
        waits: bool,
    ) -> Option<Result<Arc<Link>, NoAnswer>> {
        let reason = match (&self.link, &self.state) {
            (Some(link), _) => {
                let is_new = failed.is_none_or(|failed| !Arc::ptr_eq(link, failed));
                return is_new.then(|| Ok(Arc::clone(link)));
            }
            (None, ConnectionState::Closed(reason)) => reason,
            (
                None,
                ConnectionState::Connecting {
                    lost,
                    error: Some(_),
                },
            ) if !waits => lost,
            _ => return None,
        };
        Some(Err(NoAnswer::Lost {
            fate: Fate::NotSent,
            reason: reason.clone(),
        }))
    }
}
