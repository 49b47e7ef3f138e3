//! Calls: a connection, the lanes on it, and the future that a call is.
//!
//! [`connect`] makes a connection, [`reconnect`] the next one after it; a [`link`] is one with its lanes. [`call`] is one
//! call and [`notification`] one that nobody answers; they leave through a shared [`lane`] or, when they are large,
//! through a stream of their own ([`solo`]). A [`caller`] is called on the connection that it calls on. [`batch`] sends many at once; [`error`] is what a caller is told, [`state`]
//! what it can know of the connection.

mod address;
mod balance;
mod batch;
mod builder;
mod call;
pub(crate) mod callback;
mod connection;
mod dedicated_stream;
mod error;
mod method;
mod mux_stream;
mod notification;
mod picker;
mod reconnect;
mod retry;
#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
mod state;
mod streaming;
mod timer_pool;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::client::address::{Address, AddressError};
use crate::client::balance::endpoints::EndpointList;
pub use crate::client::balance::endpoints::{Endpoint, Endpoints};
use crate::client::balance::outlier::OutlierDetector;
pub use crate::client::batch::{Batch, Entry, Replies};
pub use crate::client::builder::{ClientBuilder, ConnectError};
pub use crate::client::call::Call;
use crate::client::call::ClientMeta;
use crate::client::callback::{Callback, ServePeer};
pub(crate) use crate::client::connection::ClientConnection;
use crate::client::connection::Owner;
use crate::client::error::CallFailure;
pub use crate::client::error::{CallError, Fate};
pub use crate::client::method::Method;
use crate::client::mux_stream::CallId;
pub use crate::client::notification::Notification;
use crate::client::picker::NextConnection;
use crate::client::reconnect::{ConnectionSlot, Dialer, EndClientOnDrop, keep_connected};
use crate::client::retry::backoff::Backoff;
use crate::client::retry::budget::RetryBudget;
use crate::client::state::Status;
pub use crate::client::state::{ConnectionState, StateWatch};
pub use crate::client::streaming::response::Items;
use crate::client::timer_pool::TimerPool;
use crate::codec::error::ErrorObject;
use crate::codec::params::encode::{self, Sent, SentParams};
use crate::codec::result::{ResultReader, Returns};
use crate::idle::IdleWatch;
use crate::limits::{BUFFER, RETAINED};
use crate::service::Service;
use crate::transport::{Connection, ConnectionLost};

/// How many buffers wait for the next calls.
const POOLED: usize = 1024;

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
/// The client connects again in the background, for as long as there is a client: the name is looked up anew, and
/// between attempts it waits a random time of up to 50 ms, which doubles up to 5 s
/// ([`reconnect_backoff`](ClientBuilder::reconnect_backoff)). The same when the server says that it is shutting down:
/// new calls go to a new connection at once, while the old one lasts until those under way have ended.
///
/// Calls that were under way and have certainly not run are made again on the next connection ([`Call`](Call#retries)).
/// The others end with [`CallError::Connection`], whose [`Fate`] says that they may have run. New ones wait for the next connection, within their timeout, or fail at once if the client was told not to
/// ([`wait_for_ready`](ClientBuilder::wait_for_ready)). [`state`](Self::state) and [`watch_state`](Self::watch_state)
/// show how it stands, and why the last attempt to connect failed.
///
/// # Several servers
/// [`connect_many`](ClientBuilder::connect_many) makes a client of several servers that serve the same, and
/// [`balance`](ClientBuilder::balance) one whose servers come and go. It is used as any other. Each server has a
/// connection, which is made again as above.
///
/// - Each call, batch and stream of items goes to one of them: of two that are chosen at random, to the one with fewer calls
///   in flight. When it is made again it goes to another, if there is another, and the first time at once, also if it may
///   have run and is idempotent. Notifications do so, too: two in a row may go to two servers.
/// - A server that is not connected, or is shutting down, gets none, nor does one from which nothing comes while it is asked, for
///   half a second or three round trips: one that was killed, say. What waits there waits on. One whose calls fail gets none until it answers
///   again ([`eject_after`](ClientBuilder::eject_after)).
/// - The client is [connected](ConnectionState::Connected) while one of its connections is, and calls wait only while none
///   is. [`rebind`](Self::rebind) moves all of them and [`close`](Self::close) closes all of them.
/// - What the client serves ([`service`](ClientBuilder::service)), it serves to each of the servers, and
///   [`Context::client`](crate::Context::client) calls the one that has called.
/// - [`reconnect(false)`](ClientBuilder::reconnect) only means that no call is made again.
/// - Each server must show a certificate for the name by which it was dialled ([`Address::server_name`]).
#[derive(Clone)]
pub struct Client(Arc<ClientInner>);

struct ClientInner {
    status: watch::Sender<Status>,
    endpoints: Mutex<EndpointList>,
    /// Ends the tasks of all connections, and the making of new ones.
    closed: CancellationToken,
    tasks: TaskTracker,
    /// How many calls had a stream of their own.
    dedicated: AtomicU64,
    buffers: Mutex<Vec<Vec<u8>>>,
    timers: TimerPool,
    idle: Arc<IdleWatch>,
    retries: RetryBudget,
    options: Options,
    /// What the other side can call; `None` where somebody else sees to that.
    services: Option<Arc<dyn ServePeer>>,
}

/// What a client is told when it is made.
#[derive(Debug, Clone)]
struct Options {
    streams: usize,
    timeout: Option<Duration>,
    reply_limit: usize,
    wait_for_ready: bool,
    /// How calls are made again, if they are.
    retry: Option<Backoff>,
    meta: Option<ClientMeta>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            streams: 1,
            timeout: None,
            reply_limit: 4 << 20,
            wait_for_ready: true,
            retry: None,
            meta: None,
        }
    }
}

impl Client {
    /// Starts building a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of a service in the same process: the same codec and dispatch, and no socket. For tests of services.
    /// There is nothing to connect to again. [`ClientBuilder::local`] makes one that serves its server.
    ///
    /// # Panics
    /// Outside a tokio runtime. It needs timers: in a runtime without them
    /// ([`enable_time`](tokio::runtime::Builder::enable_time)) the service's task panics and calls end with
    /// [`CallError::Connection`].
    pub fn local<S: Service>(service: S) -> Self {
        Self::builder().local(service)
    }

    /// A client on a connection of its own, which serves its server.
    fn over(
        connection: Connection,
        options: Options,
        services: Arc<dyn ServePeer>,
        dialer: Option<Dialer>,
    ) -> Self {
        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        let connection =
            ClientConnection::open(connection, Owner::Streams, &options, &tasks, &closed, None);
        let status = Status::connected(Arc::clone(&connection));
        let shared = ClientInner::new(status, options, tasks, closed, Some(services));
        shared.serve(&connection);
        Self::start(shared, dialer)
    }

    /// A client on a connection that somebody else serves and closes.
    fn on(connection: Connection) -> Self {
        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        let options = Options::default();
        let connection =
            ClientConnection::open(connection, Owner::Other, &options, &tasks, &closed, None);
        let status = Status::connected(connection);
        Self::start(ClientInner::new(status, options, tasks, closed, None), None)
    }

    /// A client with the lanes of another, for as long as those take calls.
    fn sharing(connection: Arc<ClientConnection>) -> Self {
        Self::start(ClientInner::idle(Status::connected(connection)), None)
    }

    /// Returns a client without a connection: its calls fail with this reason.
    fn unconnected(why: &str) -> Self {
        let reason = ConnectionLost::Transport(why.to_owned());
        Self(Arc::new(ClientInner::idle(Status::closed(reason))))
    }

    /// A client without servers yet.
    fn of_endpoints(options: Options, services: Arc<dyn ServePeer>) -> Self {
        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        let status = EndpointList::default().status();
        let shared = ClientInner::new(status, options, tasks, closed, Some(services));
        Self::start_with(shared, |slot| async {
            let _ends = EndClientOnDrop(slot);
            std::future::pending().await
        })
    }

    fn start(shared: ClientInner, dialer: Option<Dialer>) -> Self {
        Self::start_with(shared, |slot| keep_connected(slot, dialer))
    }

    fn start_with<K>(shared: ClientInner, keeper: impl FnOnce(ConnectionSlot) -> K) -> Self
    where
        K: Future<Output = Option<()>> + Send + 'static,
    {
        let shared = Arc::new(shared);
        let client = Arc::downgrade(&shared);
        let keeper = keeper(ConnectionSlot::only(Weak::clone(&client)));
        let releasing = release_when_idle(client, Arc::clone(&shared.idle));
        let closed = shared.closed.clone();
        tokio::spawn(closed.run_until_cancelled_owned(async {
            tokio::select! {
                over = keeper => over,
                over = releasing => over,
            }
        }));
        Self(shared)
    }

    /// Calls a method by name. `params` is what serde makes an array, an object or nothing (`()`) of.
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let sum: i64 = client.call("add", &(1, 2)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<T, P>(&self, method: &str, params: &P) -> Call<T, ErrorObject>
    where
        T: DeserializeOwned,
        P: Serialize + ?Sized,
    {
        let params = encode::whole(Sent::nameless(params));
        Call::new(self, None, method, params, ResultReader::new())
    }

    /// Calls a method that is answered by a stream of items, by name. `params` as with [`call`](Self::call).
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let numbers: Vec<_> = client.items::<u32, _>("count", &(3,)).try_collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn items<T, P>(&self, method: &str, params: &P) -> Items<T, ErrorObject>
    where
        T: DeserializeOwned,
        P: Serialize + ?Sized,
    {
        Items::new(self.call(method, params))
    }

    /// Sends a notification by name. `params` as with [`call`](Self::call).
    pub fn notify<P: Serialize + ?Sized>(&self, method: &str, params: &P) -> Notification {
        Notification::new(self, method, encode::whole(Sent::nameless(params)))
    }

    /// Starts a batch: calls that travel as one message.
    pub fn batch(&self) -> Batch {
        Batch::new(self)
    }

    #[doc(hidden)]
    pub fn invoke<P: SentParams, T, O, E>(
        &self,
        method: &'static Method,
        params: P,
        returns: Returns<T, O, E>,
    ) -> Call<O, E> {
        Call::new(self, Some(method), method.name(), params, returns.reader)
    }

    #[doc(hidden)]
    pub fn invoke_items<P: SentParams, T, O, E>(
        &self,
        method: &'static Method,
        params: P,
        returns: Returns<T, O, E>,
    ) -> Items<O, E> {
        Items::new(self.invoke(method, params, returns))
    }

    #[doc(hidden)]
    pub fn invoke_notification<P: SentParams>(
        &self,
        method: &'static Method,
        params: P,
    ) -> Notification {
        Notification::new(self, method.name(), params)
    }

    /// Sends what is queued, waits until it has arrived, and closes the connection. Calls that are still waiting end
    /// with an error.
    ///
    /// Cancel safe.
    pub async fn close(&self) {
        self.0.end(ConnectionLost::ClosedHere);
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Waits until there is no connection and none will come, and says why: the client was closed, or its connection
    /// was lost and it does not [`reconnect`](ClientBuilder::reconnect).
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionLost {
        let mut status = self.0.status.subscribe();
        match status.wait_for(Status::is_closed).await.as_deref() {
            Ok(Status {
                state: ConnectionState::Closed(reason),
                ..
            }) => reason.clone(),
            _ => ConnectionLost::ClosedHere,
        }
    }

    /// Goes on from a new local socket: for machines whose address changes, from one network to another or after a long
    /// sleep. Calls that are under way do not notice. Without it such a connection is lost when nothing was heard for
    /// 15 s, and then made again.
    ///
    /// # Errors
    /// When there is no socket to be had. The old one stays.
    pub fn rebind(&self) -> std::io::Result<()> {
        // The next connection has a socket of its own anyway.
        let connections = self.0.connections();
        connections
            .iter()
            .try_for_each(|connection| connection.transport.rebind())
    }

    /// Whether there is a connection.
    ///
    /// ```
    /// # use rpc_runtime::{Client, rpc};
    /// use rpc_runtime::{ConnectionLost, ConnectionState};
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
    /// assert!(matches!(client.state(), ConnectionState::Closed(ConnectionLost::ClosedHere)));
    /// # }
    /// ```
    pub fn state(&self) -> ConnectionState {
        self.0.status.borrow().state.clone()
    }

    /// Waits until there is a connection. Of a client of several servers: to one of them.
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

    /// Shows what [`state`](Self::state) will change to.
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.0.status.subscribe())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.0.connections();
        let peers = connections
            .iter()
            .map(|connection| connection.transport.remote_address());
        f.debug_struct("Client")
            .field("peers", &peers.flatten().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl ClientInner {
    fn new(
        status: Status,
        options: Options,
        tasks: TaskTracker,
        closed: CancellationToken,
        services: Option<Arc<dyn ServePeer>>,
    ) -> Self {
        Self {
            status: watch::Sender::new(status),
            endpoints: Mutex::default(),
            closed,
            tasks,
            dedicated: AtomicU64::new(0),
            buffers: Mutex::default(),
            timers: TimerPool::default(),
            idle: Arc::default(),
            retries: RetryBudget::default(),
            options,
            services,
        }
    }

    /// One without tasks of its own.
    fn idle(status: Status) -> Self {
        let (tasks, closed) = (TaskTracker::new(), CancellationToken::new());
        Self::new(status, Options::default(), tasks, closed, None)
    }

    /// Takes calls of the other side for as long as the connection lasts.
    fn serve(&self, connection: &Arc<ClientConnection>) {
        if let Some(services) = &self.services {
            let caller = Callback::on_made(Arc::downgrade(connection));
            self.tasks
                .spawn(services.serve(connection.transport.clone(), Some(caller)));
        }
    }

    /// The connections that take calls.
    fn connections(&self) -> Vec<Arc<ClientConnection>> {
        self.status.borrow().connections.clone()
    }

    /// Whether calls can leave by another than this one.
    fn has_other(&self, connection: &Arc<ClientConnection>) -> bool {
        let connections = &self.status.borrow().connections;
        connections
            .iter()
            .any(|other| !Arc::ptr_eq(other, connection))
    }

    /// Where a call can leave, best not by `failed`, and not if that takes no more; `None` if it should wait.
    fn offer(
        &self,
        failed: Option<&Arc<ClientConnection>>,
    ) -> Option<Result<Arc<ClientConnection>, CallFailure>> {
        self.status
            .borrow()
            .offer(failed, self.options.wait_for_ready)
    }

    /// Waits until a call can leave, and not by `failed` if that takes no more.
    fn next_connection(&self, failed: Option<Arc<ClientConnection>>) -> NextConnection {
        let (mut status, waits) = (self.status.subscribe(), self.options.wait_for_ready);
        Box::pin(async move {
            let mut offered = None;
            let found = status.wait_for(|status| {
                offered = status.offer(failed.as_ref(), waits);
                offered.is_some()
            });
            let _ = found.await;
            offered.unwrap_or(Err(CallFailure::AlreadyCompleted))
        })
    }

    /// Once closed it stays so.
    fn change(&self, mut status: Status) {
        // What was before is dropped without the lock.
        self.status
            .send_if_modified(|current| status.replace(current));
    }

    /// Begins to use a connection.
    fn open(
        &self,
        connection: Connection,
        health: Option<Arc<OutlierDetector>>,
    ) -> Arc<ClientConnection> {
        let connection = ClientConnection::open(
            connection,
            Owner::Streams,
            &self.options,
            &self.tasks,
            &self.closed,
            health,
        );
        self.serve(&connection);
        connection
    }

    fn connected(&self, connection: Connection) {
        self.change(Status::connected(self.open(connection, None)));
    }

    fn disconnected(&self, state: ConnectionState) {
        self.change(Status::disconnected(state));
    }

    fn end(&self, reason: ConnectionLost) {
        self.disconnected(ConnectionState::Closed(reason));
        self.closed.cancel();
        self.clear_endpoints();
    }

    /// The id of the next call on a stream of its own.
    fn next_dedicated_id(&self) -> CallId {
        CallId::dedicated(self.dedicated.fetch_add(1, Ordering::Relaxed))
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self) -> Vec<u8> {
        self.buffers()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    /// One for a request, one for its answer.
    fn two_buffers(&self) -> [Vec<u8>; 2] {
        let mut buffers = self.buffers();
        let pooled = [buffers.pop(), buffers.pop()];
        drop(buffers);
        pooled.map(|buffer| buffer.unwrap_or_else(|| Vec::with_capacity(BUFFER)))
    }

    fn put_back<const N: usize>(&self, returned: [Vec<u8>; N]) {
        let mut buffers = self.buffers();
        for mut buffer in returned {
            buffer.clear();
            if (1..=RETAINED).contains(&buffer.capacity()) && buffers.len() < POOLED {
                buffers.push(buffer);
            }
        }
        drop(buffers);
        self.idle.disturb();
    }

    /// Gives back what was kept for the next calls.
    fn release_idle_buffers(&self) {
        let buffers = std::mem::take(&mut *self.buffers());
        drop(buffers);
        self.timers.release_idle_buffers();
        self.connections()
            .iter()
            .for_each(|connection| connection.release_idle_buffers());
    }
}

/// Keeps nothing for the next calls while there are none. `None`: the client is no more.
async fn release_when_idle(client: Weak<ClientInner>, idle: Arc<IdleWatch>) -> Option<()> {
    loop {
        idle.returns().await;
        client.upgrade()?.release_idle_buffers();
    }
}

impl Drop for ClientInner {
    fn drop(&mut self) {
        self.end(ConnectionLost::ClosedHere);
    }
}
