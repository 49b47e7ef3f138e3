//! The client as its users hold it, and what all its calls share.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::balance::endpoint_list::EndpointList;
use crate::client::balance::health::EndpointHealth;
use crate::client::connection::{ClientConnection, ConnectionOwner};
use crate::client::dial::ConnectError;
use crate::client::error::CallFailure;
use crate::client::mux_stream::CallId;
use crate::client::options::ClientOptions;
use crate::client::outgoing::{OutgoingPool, PooledOutgoing};
use crate::client::retry::budget::RetryBudget;
use crate::client::state::{ConnectionState, StateWatch, Status};
use crate::client::timer_pool::TimerPool;
use crate::idle::IdleWatch;
use crate::limits::Limits;
use crate::memory::{ConnectionMemory, ServerMemory};
use crate::sync::{self, Mutex, MutexGuard};
use crate::transport::{Connection, ConnectionError};

/// A connection to a server, made again when it is lost. Cheap to clone; the last clone closes it when dropped.
///
/// Typed calls are made with the `…Client` that [`#[rpc]`](crate::rpc) makes of a trait; [`call`](Self::call) makes
/// them by name.
///
/// ```
/// use rpc_runtime::{Client, rpc};
///
/// #[rpc]
/// trait Greeter {
///     async fn greet(&self, name: &str) -> String;
/// }
///
/// struct Hello;
/// impl Greeter for Hello {
///     async fn greet(&self, name: &str) -> String {
///         format!("Hello, {name}!")
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::CallError> {
/// let client = Client::local(GreeterServer::new(Hello));
/// let greeter = GreeterClient::new(client.clone());
/// assert_eq!(greeter.greet("Ada").await?, "Hello, Ada!");
/// # Ok(())
/// # }
/// ```
///
/// # When the connection is lost
/// The client connects again in the background, for as long as there is a client. It resolves the name anew, and between
/// attempts it waits a random time of up to 50 ms, which doubles up to 5 s
/// ([`reconnect_backoff`](crate::ClientBuilder::reconnect_backoff)). It does the same when the server says that it is shutting
/// down: new calls go to a new connection at once, while the old one lasts until the calls in flight on it have ended.
///
/// Calls in flight that have certainly not run are sent again on the next connection ([`Call`](crate::Call#retries)). The
/// others end with [`CallError::Connection`](crate::CallError::Connection), whose [`Execution`](crate::Execution) says that they may
/// have run. New calls wait for the next connection within their timeout, or fail at once if the client does not
/// [`wait_for_ready`](crate::ClientBuilder::wait_for_ready). [`state`](Self::state) and [`watch_state`](Self::watch_state)
/// return the state of the connection, and why the last attempt to connect failed.
///
/// # Several servers
/// [`connect_many`](crate::ClientBuilder::connect_many) makes a client of several servers that serve the same, and
/// [`balanced`](crate::ClientBuilder::balanced) one whose servers come and go. It is used as any other. Each server has a
/// connection, which is made again as above.
///
/// - Each call, batch and stream of items goes to one of them: of two that are chosen at random, to the one with fewer calls
///   in flight. A retry goes to another server, if there is one, and the first one at once, also if the call may have run and
///   is idempotent. The same holds for notifications: two in a row may go to two servers.
/// - A server that is not connected, or is shutting down, gets no calls. Neither does one from which no packet comes for half a
///   second or three round trips while calls are in flight, because it was killed for instance; those calls go on waiting. A
///   server whose calls fail gets none until it answers again ([`eject_after`](crate::ClientBuilder::eject_after)).
/// - The client is [connected](crate::ConnectionState::Connected) while one of its connections is, and calls wait only while
///   none is. [`rebind`](Self::rebind) moves all of them and [`close`](Self::close) closes all of them.
/// - What the client serves ([`service`](crate::ClientBuilder::service)), it serves to each of the servers, and
///   [`Context::client`](crate::Context::client) calls the one that has called.
/// - [`reconnect(false)`](crate::ClientBuilder::reconnect) only means that no call is sent again.
/// - Each server must show a certificate for the name by which it was dialled
///   ([`Address::server_name`](crate::Address::server_name)).
#[derive(Clone)]
pub struct Client(pub(super) Arc<ClientInner>);

pub(super) struct ClientInner {
    pub(super) status: watch::Sender<Status>,
    endpoints: Mutex<EndpointList>,
    /// The connections that the client has made, for closing them. Those that it no longer uses may have calls in flight.
    connections: Mutex<Vec<Weak<ClientConnection>>>,
    /// Ends the tasks that connect.
    pub(super) closed: CancellationToken,
    tasks: TaskTracker,
    /// Number of calls that were sent on dedicated streams.
    dedicated: AtomicU64,
    outgoing: OutgoingPool,
    pub(super) timers: TimerPool,
    pub(super) idle: Arc<IdleWatch>,
    pub(super) retries: RetryBudget,
    pub(super) options: ClientOptions,
    /// Serves the calls of the server; `None` where the server's side does so.
    services: Option<Services>,
}

/// Serves the calls that the server makes on a connection.
pub(super) type Services =
    Box<dyn Fn(&Arc<ClientConnection>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A connection, when there is one.
pub(super) type NextConnection =
    Pin<Box<dyn Future<Output = Result<Arc<ClientConnection>, CallFailure>> + Send>>;

impl Client {
    /// Sends what is queued, waits until it has arrived, and closes the connection. Calls that still wait end with an error.
    ///
    /// Cancel safe.
    pub async fn close(&self) {
        self.0.end(ConnectionError::ClosedHere);
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Waits until there is no connection and none will be made. Returns why: the client was closed, or its connection was
    /// lost and it does not [`reconnect`](crate::ClientBuilder::reconnect).
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let mut status = self.0.status.subscribe();
        match status.wait_for(Status::is_closed).await.as_deref() {
            Ok(Status {
                state: ConnectionState::Closed(reason),
                ..
            }) => reason.clone(),
            _ => ConnectionError::ClosedHere,
        }
    }

    /// Moves the connection to a new local socket, for machines whose address changes: from one network to another or after
    /// a long sleep. Calls in flight are not affected. Without it such a connection is lost after 15 s without a packet, and
    /// then made again.
    ///
    /// # Errors
    /// When no socket can be opened. The old one stays in use.
    pub fn rebind(&self) -> std::io::Result<()> {
        // The next connection has a socket of its own anyway.
        let connections = self.0.connections();
        connections.iter().try_for_each(|c| c.transport.rebind())
    }

    /// Returns whether there is a connection.
    ///
    /// ```
    /// # use rpc_runtime::{Client, rpc};
    /// use rpc_runtime::{ConnectionError, ConnectionState};
    ///
    /// # #[rpc]
    /// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Desk;
    /// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() {
    /// let client = Client::local(CalculatorServer::new(Desk));
    /// assert!(matches!(client.state(), ConnectionState::Connected));
    /// client.close().await;
    /// assert!(matches!(client.state(), ConnectionState::Closed(ConnectionError::ClosedHere)));
    /// # }
    /// ```
    pub fn state(&self) -> ConnectionState {
        self.0.status.borrow().state.clone()
    }

    /// Returns the number of bytes that the client holds for its servers at the moment, rounded up to 64 KiB for each
    /// connection: replies and items that are received or wait for their callers, and what it holds for calls that the servers
    /// make. This is what [`Limits::max_memory_bytes`](crate::Limits::max_memory_bytes) limits, and for each connection
    /// [`Limits::max_memory_bytes_per_connection`](crate::Limits::max_memory_bytes_per_connection), set with
    /// [`ClientBuilder::limits`](crate::ClientBuilder::limits). Of use for a metric.
    ///
    /// For the client of a handler's caller ([`Context::client`](crate::Context::client)) it is what this side holds for all
    /// of its peers.
    pub fn memory_held(&self) -> usize {
        self.0.options.memory.used()
    }

    /// Waits until there is a connection; for a client of several servers, to one of them.
    ///
    /// # Errors
    /// [`ConnectError::Nobody`] as soon as the last attempt to connect has failed; the client goes on trying.
    /// [`ConnectError::Refused`] when it is closed.
    ///
    /// Cancel safe.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        let mut status = self.0.status.subscribe();
        let mut ready = Ok(());
        let is_settled = status.wait_for(|status| {
            ready = match &status.state {
                ConnectionState::Connected => Ok(()),
                ConnectionState::Connecting { error: None, .. } => return false,
                ConnectionState::Connecting {
                    error: Some(error), ..
                } => Err(ConnectError::Nobody(Arc::clone(error))),
                ConnectionState::Closed(lost) => Err(ConnectError::Refused(lost.clone())),
            };
            true
        });
        let _ = is_settled.await;
        ready
    }

    /// Watches for changes of the [`state`](Self::state).
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.0.status.subscribe())
    }

    /// Returns a client without a connection: its calls fail with this reason.
    pub(super) fn unconnected(why: &str) -> Self {
        let reason = ConnectionError::Transport(why.to_owned());
        let memory = ServerMemory::new(&Limits::default());
        let status = Status::closed(reason);
        Self(Arc::new(ClientInner::without_connections(status, memory)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.0.connections();
        let peers = connections.iter().map(|c| c.transport.remote_address());
        f.debug_struct("Client")
            .field("peers", &peers.flatten().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl ClientInner {
    pub(super) fn new(status: Status, options: ClientOptions, services: Option<Services>) -> Self {
        Self {
            status: watch::Sender::new(status),
            endpoints: Mutex::default(),
            connections: Mutex::default(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            dedicated: AtomicU64::new(0),
            outgoing: OutgoingPool::default(),
            timers: TimerPool::default(),
            idle: Arc::default(),
            retries: RetryBudget::default(),
            options,
            services,
        }
    }

    /// Makes a client that opens no connections itself.
    pub(super) fn without_connections(status: Status, memory: Arc<ServerMemory>) -> Self {
        let options = ClientOptions {
            memory,
            ..ClientOptions::default()
        };
        Self::new(status, options, None)
    }

    /// Starts to use a connection, and serves the calls of its server.
    pub(super) fn open(
        &self,
        transport: Connection,
        owner: ConnectionOwner,
        health: Option<Arc<EndpointHealth>>,
    ) -> Arc<ClientConnection> {
        let peer = transport.remote_address().map(|peer| peer.ip());
        let memory = self.options.memory.connection(peer);
        self.open_within((transport, memory), owner, health)
    }

    /// The same for a connection whose memory is counted already.
    pub(super) fn open_within(
        &self,
        connection: (Connection, Arc<ConnectionMemory>),
        owner: ConnectionOwner,
        health: Option<Arc<EndpointHealth>>,
    ) -> Arc<ClientConnection> {
        let connection =
            ClientConnection::open(connection, owner, &self.options, &self.tasks, health);
        if let Some(serve) = &self.services {
            self.tasks.spawn(serve(&connection));
        }
        let mut connections = sync::lock(&self.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        drop(connections);
        // Closing the client closes the connections that it finds, after it has said so.
        if self.closed.is_cancelled() {
            connection.close();
        }
        connection
    }

    /// Returns the connections that take calls.
    pub(super) fn connections(&self) -> Vec<Arc<ClientConnection>> {
        self.status.borrow().connections.clone()
    }

    /// Whether calls can go to another connection than this one.
    pub(super) fn has_other(&self, connection: &Arc<ClientConnection>) -> bool {
        let connections = &self.status.borrow().connections;
        connections
            .iter()
            .any(|other| !Arc::ptr_eq(other, connection))
    }

    /// Picks the connection of a call, another than `failed` if possible. Returns `None` if the call is to wait for one.
    #[inline]
    pub(super) fn pick(
        &self,
        failed: Option<&Arc<ClientConnection>>,
    ) -> Option<Result<Arc<ClientConnection>, CallFailure>> {
        let status = self.status.borrow();
        status.pick(failed, self.options.wait_for_ready)
    }

    /// Waits for a connection that takes calls, another than `failed` if possible.
    pub(super) fn next_connection(&self, failed: Option<Arc<ClientConnection>>) -> NextConnection {
        let (mut status, waits) = (self.status.subscribe(), self.options.wait_for_ready);
        Box::pin(async move {
            let mut picked = None;
            let found = status.wait_for(|status| {
                picked = status.pick(failed.as_ref(), waits);
                picked.is_some()
            });
            let _ = found.await;
            picked.unwrap_or(Err(CallFailure::AlreadyCompleted))
        })
    }

    /// Changes the status. Once closed, a client stays closed.
    pub(super) fn set_status(&self, mut status: Status) {
        // The status before is dropped without the lock.
        self.status
            .send_if_modified(|current| status.replace(current));
    }

    pub(super) fn set_disconnected(&self, state: ConnectionState) {
        self.set_status(Status::disconnected(state));
    }

    /// Closes the client: calls fail, connections send what is queued, and none is made again.
    pub(super) fn end(&self, reason: ConnectionError) {
        self.set_disconnected(ConnectionState::Closed(reason));
        self.closed.cancel();
        let connections = std::mem::take(&mut *sync::lock(&self.connections));
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.close();
        }
        let endpoints = self.endpoints().clear();
        drop(endpoints);
    }

    pub(super) fn endpoints(&self) -> MutexGuard<'_, EndpointList> {
        sync::lock(&self.endpoints)
    }

    /// Changes the list of servers, and which connections take calls.
    pub(super) fn change_endpoints<R>(&self, change: impl FnOnce(&mut EndpointList) -> R) -> R {
        let mut endpoints = self.endpoints();
        let result = change(&mut endpoints);
        let status = endpoints.changed();
        drop(endpoints);
        self.set_status(status);
        result
    }

    /// Returns the id of the next call on a dedicated stream.
    pub(super) fn next_dedicated_id(&self) -> CallId {
        CallId::dedicated(self.dedicated.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the memory of a new call, with its options.
    pub(super) fn take_outgoing(&self) -> PooledOutgoing {
        self.outgoing.take(&self.options)
    }

    pub(super) fn put_back(&self, outgoing: &mut PooledOutgoing) {
        self.outgoing.put_back(outgoing);
        self.idle.record_activity();
    }

    /// Drops what is kept for later calls.
    pub(super) fn release_idle_buffers(&self) {
        self.outgoing.clear();
        self.timers.clear();
        for connection in self.connections() {
            connection.release_idle_buffers();
        }
    }
}

impl Drop for ClientInner {
    fn drop(&mut self) {
        self.end(ConnectionError::ClosedHere);
    }
}
