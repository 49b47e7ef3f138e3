//! `Client`: the handle of a client, and the state that all its calls share.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::balance::endpoint_list::EndpointList;
use crate::client::balance::health::EndpointHealth;
use crate::client::connection::{ClientConnection, ConnectionOwner};
use crate::client::dial::ConnectError;
use crate::client::error::{CallFailure, Execution};
use crate::client::method::MethodName;
use crate::client::middleware::chain::{ClientMiddleware, Middlewares};
use crate::client::middleware::layers::Layers;
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
use crate::transport_kind::TransportKind;

/// A client of one server or several. It reconnects when a connection is lost.
///
/// Clones are cheap and share the connections, which are closed when the last clone is dropped. The `…Client` types that
/// [`#[rpc]`](crate::rpc) generates from a trait make typed calls; [`call`](Self::call) makes calls by name.
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
/// The client reconnects in the background until it is closed or its last clone is dropped. It resolves the name again for
/// each attempt. Between attempts it waits for a random time of up to 50 ms, which doubles up to 5 s
/// ([`reconnect_backoff`](crate::ClientBuilder::reconnect_backoff)). It does the same when the server announces that it is
/// shutting down. New calls then use a new connection at once, and the old connection lasts until its calls in flight have
/// ended.
///
/// Calls in flight that were certainly not executed are retried on the next connection ([`Call`](crate::Call#retries)).
/// Other calls in flight end with [`CallError::Connection`](crate::CallError::Connection), whose
/// [`Execution`] says that they may have been executed. New calls wait for the next connection within
/// their timeout, or fail at once if the client does not [`wait_for_ready`](crate::ClientBuilder::wait_for_ready).
/// [`state`](Self::state) and [`watch_state`](Self::watch_state) return the state of the connection and the error of the
/// last attempt to connect.
///
/// An attempt is made with less delay for 10 s after a loss, since the server may only be restarting: the random time is up to
/// 0.5 s. While calls are in flight and no packet arrives, the client probes the server every 200 ms. A server that was
/// killed and restarted answers the probe with a stateless reset. A client without calls sends no such probes, and notices
/// that at its next call, or within 5 s. An attempt that the server answers within a second is not replaced by another one,
/// however busy the server is.
///
/// # Short-lived programs
/// A program that makes a few calls should [`close`](Self::close) the client before it ends, also if its last call failed.
/// `close` waits until notifications have arrived, and until the server has been told. When the last clone of a client is
/// dropped, its tasks do the same if the runtime continues to run. When the runtime is dropped, the client tells its servers
/// at once, but notifications may be lost. A process that ends with [`std::process::exit`], or is killed, tells its servers
/// nothing: they keep each connection for 15 s, and count it towards
/// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address), 64 by default.
///
/// # Several servers
/// [`connect_many`](crate::ClientBuilder::connect_many) creates a client of several servers that offer the same services.
/// [`balanced`](crate::ClientBuilder::balanced) creates a client whose servers may change. Such a client is used as any
/// other. Each server has its own connection, and the client reconnects to each as described above.
///
/// - The client chooses two servers at random for each call, batch, notification and stream of items. The server with fewer
///   calls in flight gets it. So two consecutive notifications may go to two servers.
/// - A retry goes to another server if there is one. The first retry is then sent at once, also for an idempotent call that
///   may have been executed.
/// - A server that is not connected, or is shutting down, gets no calls.
/// - A server that was killed, for example, gets no new calls once no packet has arrived from it for half a second or three
///   round trips while calls are in flight. Its calls in flight keep waiting.
/// - A server whose calls fail gets no calls until it answers again ([`eject_after`](crate::ClientBuilder::eject_after)).
/// - The client is [connected](crate::ConnectionState::Connected) while at least one of its connections is, and calls wait
///   only while none is. [`rebind`](Self::rebind) moves all connections, and [`close`](Self::close) closes all of them.
/// - The client's own services ([`service`](crate::ClientBuilder::service)) are available to each of the servers.
///   [`Context::client`](crate::Context::client) calls the server that made the call.
/// - [`reconnect(false)`](crate::ClientBuilder::reconnect) only disables retries.
/// - Each server must present a certificate for the name by which it was dialled
///   ([`Address::server_name`](crate::Address::server_name)).
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<ClientInner>,
    middleware: Option<Middlewares>,
}

pub(super) struct ClientInner {
    pub(super) status: watch::Sender<Status>,
    endpoints: Mutex<EndpointList>,
    /// The connections that the client has opened; `end` closes them. A connection that takes no more calls may have calls
    /// in flight.
    connections: Mutex<Vec<Weak<ClientConnection>>>,
    /// Ends the tasks that connect.
    pub(super) closed: CancellationToken,
    /// Notified when a call waits for a connection; starts a client that connects with its first call.
    pub(super) wanted: Arc<Notify>,
    tasks: TaskTracker,
    /// Number of calls that were sent on dedicated streams.
    dedicated: AtomicU64,
    outgoing: OutgoingPool,
    pub(super) timers: TimerPool,
    pub(super) idle: Arc<IdleWatch>,
    pub(super) retries: RetryBudget,
    pub(super) options: ClientOptions,
    /// Serves the calls of the server; `None` if the server's side of the connection serves them.
    services: Option<Services>,
}

/// Serves the calls that the server makes on a connection.
pub(super) type Services =
    Box<dyn Fn(&Arc<ClientConnection>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Resolves to a connection as soon as there is one.
pub(super) type NextConnection =
    Pin<Box<dyn Future<Output = Result<Arc<ClientConnection>, CallFailure>> + Send>>;

impl Client {
    /// Sends all queued data, waits until it has arrived, and closes the connections. Calls in flight end with an error.
    ///
    /// If a server does not answer, the client waits for it for three seconds at most, and then closes the connection. It waits
    /// only if it has sent notifications on the connection or has calls in flight. Otherwise the server has replied to
    /// everything, and this method returns at once. A program that cannot wait wraps it in [`tokio::time::timeout`]: the client
    /// then closes its connections in the background.
    ///
    /// When this method returns, the servers have been told, so that the process may end. If the packet that tells a server is
    /// lost, the server keeps the connection until its idle timeout ([`TransportSettings::idle_timeout`](crate::TransportSettings::idle_timeout)).
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn close(&self) {
        self.inner.end(ConnectionError::ClosedHere);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Waits until the client is closed, and returns the reason: [`close`](Self::close) was called, or the connection was
    /// lost and the client does not [`reconnect`](crate::ClientBuilder::reconnect).
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        let mut status = self.inner.status.subscribe();
        match status.wait_for(Status::is_closed).await.as_deref() {
            Ok(Status {
                state: ConnectionState::Closed(reason),
                ..
            }) => reason.clone(),
            _ => ConnectionError::ClosedHere,
        }
    }

    /// Moves the connections to a new local socket. Calls in flight are not affected.
    ///
    /// A machine needs this when its address changes, for example when it moves to another network or wakes from a long
    /// sleep. Without it such a connection is lost after 15 s without a packet, and the client then reconnects.
    ///
    /// # Errors
    /// Returns an error of the kind [`Unsupported`](std::io::ErrorKind::Unsupported) if a connection uses a socket that it
    /// shares ([`ClientBuilder::socket`](crate::ClientBuilder::socket)), which [`ClientSocket::rebind`](crate::ClientSocket::rebind)
    /// moves, and the error of the system if no socket can be opened. That connection keeps its socket. A client of several servers stops at the first error: connections before it
    /// have been moved, and connections after it have not.
    pub fn rebind(&self) -> std::io::Result<()> {
        // A connection that is opened later has a new socket anyway.
        let connections = self.inner.connections();
        connections.iter().try_for_each(|c| c.transport.rebind())
    }

    /// Returns the state of the client's connection.
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
        self.inner.status.borrow().state.clone()
    }

    /// Returns what carries the client's connection, or `None` if there is none. With several servers, it is that of one of the
    /// connections.
    ///
    /// A client with a fallback (`ClientBuilder::fallback`) may move between QUIC and HTTP/2. The event
    /// [`Connected`](crate::event::Event::Connected) tells when it does.
    pub fn transport(&self) -> Option<TransportKind> {
        let status = self.inner.status.borrow();
        let connection = status.connections.first();
        connection.map(|connection| connection.transport.kind())
    }

    /// Returns the memory that the client holds for its servers, in bytes, rounded up to 64 KiB for each connection. It is
    /// meant as a metric.
    ///
    /// The memory holds replies and items that are being received or wait for their callers, and the data of calls that the
    /// servers make. [`ClientBuilder::limits`](crate::ClientBuilder::limits) sets its limits:
    /// [`Limits::max_memory_bytes`](crate::Limits::max_memory_bytes) in total, and
    /// [`Limits::max_memory_bytes_per_connection`](crate::Limits::max_memory_bytes_per_connection) for each connection.
    ///
    /// For a client that [`Context::client`](crate::Context::client) returned, it is the memory that this side holds for all
    /// of its peers.
    pub fn memory_held(&self) -> usize {
        self.inner.options.memory.used()
    }

    /// Waits until the client is connected; with several servers, to one of them. A client that
    /// [connects lazily](crate::ClientBuilder::connect_lazy) connects now.
    ///
    /// # Errors
    /// Returns [`ConnectError::AllUnreachable`] as soon as the last attempt to connect has failed, also for a client of one
    /// server; the client keeps trying.
    /// Returns [`ConnectError::Closed`] if the client is closed.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        self.inner.wanted.notify_one();
        let mut status = self.inner.status.subscribe();
        let mut ready = Ok(());
        let is_decided = status.wait_for(|status| {
            ready = match &status.state {
                ConnectionState::Connected => Ok(()),
                ConnectionState::Idle | ConnectionState::Connecting { error: None, .. } => {
                    return false;
                }
                ConnectionState::Connecting {
                    error: Some(error), ..
                } => Err(ConnectError::AllUnreachable(Arc::clone(error))),
                ConnectionState::Closed(lost) => Err(ConnectError::Closed(lost.clone())),
            };
            true
        });
        let _ = is_decided.await;
        ready
    }

    /// Returns a watch that reports each change of the [`state`](Self::state).
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.inner.status.subscribe())
    }

    /// Returns a client whose calls pass through `middleware`, inside of the middleware that this client has. Both clients
    /// share the connections. The calls of this client, and of its other clones, do not pass through `middleware`.
    ///
    /// So a middleware can make calls on the same connection without running for them, and the calls that a handler makes
    /// to its caller ([`Context::client`](crate::Context::client)) can have middleware.
    ///
    /// ```
    /// use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
    /// use rpc_runtime::{Client, Context, rpc};
    ///
    /// #[rpc]
    /// trait Account {
    ///     /// Issues a token.
    ///     async fn token(&self) -> String;
    ///     async fn name(&self, cx: &Context) -> String;
    /// }
    ///
    /// /// Gets a token for each call. A real one keeps it.
    /// struct WithToken(AccountClient);
    ///
    /// impl ClientMiddleware for WithToken {
    ///     async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
    ///         if let Ok(token) = self.0.token().await {
    ///             request.set_meta("token", &token);
    ///         }
    ///         next.run(request).await
    ///     }
    /// }
    /// # struct Accounts;
    /// # impl Account for Accounts {
    /// #     async fn token(&self) -> String { "ada".into() }
    /// #     async fn name(&self, cx: &Context) -> String { cx.meta("token").unwrap_or("anonymous").into() }
    /// # }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), rpc_runtime::CallError> {
    /// let client = Client::local(AccountServer::new(Accounts)); // or `Client::builder().connect(address).await?`
    /// let issuer = AccountClient::new(client.clone());
    /// let account = AccountClient::new(client.with_middleware(WithToken(issuer)));
    /// assert_eq!(account.name().await?, "ada");
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_middleware<M: ClientMiddleware>(&self, middleware: M) -> Self {
        let mut client = self.clone();
        Middlewares::add(&mut client.middleware, Arc::new(middleware));
        client
    }

    pub(super) fn of(inner: Arc<ClientInner>) -> Self {
        let middleware = inner.options.middleware.clone();
        Self { inner, middleware }
    }

    /// Returns the state of a call for the client's middleware; `None` if there is none.
    #[inline]
    pub(super) fn layers(&self, method: MethodName<'_>) -> Option<Box<Layers>> {
        let Middlewares(chain) = self.middleware.as_ref()?;
        Some(Layers::new(chain, method.request_kind()))
    }

    /// Returns a client without a connection. Its calls fail with the reason `why`.
    pub(super) fn unconnected(why: &str) -> Self {
        let reason = ConnectionError::Transport(why.to_owned());
        let memory = ServerMemory::new(&Limits::default());
        let status = Status::closed(reason);
        Self::of(Arc::new(ClientInner::without_connections(status, memory)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.inner.connections();
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
            wanted: Arc::default(),
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

    /// Creates a client that opens no connections itself.
    pub(super) fn without_connections(status: Status, memory: Arc<ServerMemory>) -> Self {
        let options = ClientOptions {
            memory,
            ..ClientOptions::default()
        };
        Self::new(status, options, None)
    }

    /// Opens the streams of a connection, and serves the calls of its server.
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

    /// Opens a connection as `open` does, with memory that is already counted.
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
        // `end` sets `closed` before it closes the connections, so a connection that it missed is closed here.
        if self.closed.is_cancelled() {
            connection.close();
        }
        connection
    }

    /// Returns the connections that take calls.
    pub(super) fn connections(&self) -> Vec<Arc<ClientConnection>> {
        self.status.borrow().connections.clone()
    }

    /// Returns `true` if calls can go to another connection than this one.
    pub(super) fn has_other(&self, connection: &Arc<ClientConnection>) -> bool {
        let connections = &self.status.borrow().connections;
        connections
            .iter()
            .any(|other| !Arc::ptr_eq(other, connection))
    }

    /// Picks the connection of a call; not `failed`, if possible. Returns `None` if the call must wait for a connection.
    #[inline]
    pub(super) fn pick(
        &self,
        failed: Option<&Arc<ClientConnection>>,
    ) -> Option<Result<Arc<ClientConnection>, CallFailure>> {
        let status = self.status.borrow();
        status.pick(failed, self.options.wait_for_ready)
    }

    /// Waits for a connection that takes calls; not `failed`, if possible.
    pub(super) fn next_connection(&self, failed: Option<Arc<ClientConnection>>) -> NextConnection {
        self.wanted.notify_one();
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

    /// Returns the failure of a call whose time was over while it waited for a connection.
    #[cold]
    pub(super) fn not_connected(&self, execution: Execution) -> CallFailure {
        CallFailure::lost(execution, &self.status.borrow().not_connected())
    }

    /// Changes the status. A closed client stays closed.
    pub(super) fn set_status(&self, mut status: Status) {
        // The old status is dropped after the lock is released.
        self.status
            .send_if_modified(|current| status.replace(current));
    }

    pub(super) fn set_disconnected(&self, state: ConnectionState) {
        self.set_status(Status::disconnected(state));
    }

    /// Closes the client: calls fail, connections send their queued data, and no connection is opened again.
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

    /// Changes the list of servers, and updates the connections that take calls.
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

    /// Returns a buffer for a new call, with the client's default options.
    pub(super) fn take_outgoing(&self) -> PooledOutgoing {
        self.outgoing.take(&self.options)
    }

    pub(super) fn put_back(&self, outgoing: &mut PooledOutgoing) {
        self.outgoing.put_back(outgoing);
        self.idle.record_activity();
    }

    /// Drops the buffers and timers that are kept for later calls.
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
