//! Calls: a connection, the lanes on it, and the future that a call is.
//!
//! [`connect`] makes the connection. [`call`] is one call and [`notification`] one that nobody answers; they leave
//! through a shared [`lane`] or, when they are large, through a stream of their own ([`solo`]). [`batch`] sends many at
//! once; [`error`] is what a caller is told.

mod address;
mod batch;
mod call;
mod connect;
mod error;
mod lane;
mod notification;
mod request;
mod solo;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

pub use self::address::{Address, AddressError};
pub use self::batch::{Batch, Entry, Replies};
pub use self::call::Call;
use self::call::Timer;
pub use self::connect::{ClientBuilder, ConnectError};
pub use self::error::{CallError, Fate};
use self::lane::{CallId, Lane};
pub use self::notification::Notification;
pub use self::request::Method;
use crate::limits::{BUFFER, Limits, RETAINED};
use crate::service::Service;
use crate::transport::{Connection, ConnectionLost, StreamLost, close, memory};
use crate::wire::error::ErrorObject;
use crate::wire::returns::{Reader, Returns};
use crate::wire::sent::{self, Sent, SentParams};

/// How many buffers wait for the next calls.
const POOLED: usize = 1024;

/// A connection to a server. Cheap to clone; the last clone closes it when dropped.
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
/// There is no reconnection yet. A lost connection ends the client with all its clones: the calls that wait and all
/// later ones end with [`CallError::Connection`], whose [`Fate`] says whether they may have run. [`closed`](Self::closed)
/// tells when and why; connect anew then.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    connection: Connection,
    lanes: Vec<Arc<Lane>>,
    next_lane: AtomicUsize,
    /// How many calls had a stream of their own.
    alone: AtomicU64,
    /// Cancellations once more, past whatever holds a lane up.
    control: Arc<Lane>,
    tasks: TaskTracker,
    buffers: Mutex<Vec<Vec<u8>>>,
    timers: Mutex<Vec<Timer>>,
    options: Options,
}

/// What a client is told when it is made.
#[derive(Debug, Clone)]
struct Options {
    lanes: usize,
    timeout: Option<Duration>,
    reply_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: 1,
            timeout: None,
            reply_limit: 4 << 20,
        }
    }
}

impl Client {
    /// Starts building a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client of a service in the same process: the same codec and dispatch, and no socket. For tests of services.
    ///
    /// # Panics
    /// Outside a tokio runtime. It needs timers: in a runtime without them
    /// ([`enable_time`](tokio::runtime::Builder::enable_time)) the service's task panics and calls end with
    /// [`CallError::Connection`].
    pub fn local<S: Service>(service: S) -> Self {
        let (here, there) = memory::pair();
        tokio::spawn(crate::server::serve_locally(
            service,
            Limits::default(),
            there,
        ));
        Self::in_memory(here)
    }

    /// A client of whoever is at the other end.
    pub(crate) fn in_memory(connection: memory::Connection) -> Self {
        Self::over(Connection::Memory(connection), Options::default())
    }

    fn over(connection: Connection, options: Options) -> Self {
        let tasks = TaskTracker::new();
        // The connection closes when the last lane has nothing more to say.
        let open = Arc::new(CloseOnDrop(connection.clone()));
        let limit = options.reply_limit;
        let lanes = (0..options.lanes.clamp(1, lane::LANES)).map(|number| {
            let lane = Lane::new(number);
            tasks.spawn(within_linger(
                Arc::clone(&lane),
                run_lane(Arc::clone(&lane), Arc::clone(&open), limit),
            ));
            lane
        });
        let lanes = lanes.collect();
        let control = Lane::new(lane::LANES);
        tasks.spawn(within_linger(
            Arc::clone(&control),
            run_control(Arc::clone(&control), open),
        ));
        Self(Arc::new(Shared {
            connection,
            lanes,
            next_lane: AtomicUsize::new(0),
            alone: AtomicU64::new(0),
            control,
            tasks,
            buffers: Mutex::default(),
            timers: Mutex::default(),
            options,
        }))
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
        let params = sent::whole(Sent::nameless(params));
        Call::new(self, None, method, params, Reader::new())
    }

    /// Sends a notification by name. `params` as with [`call`](Self::call).
    pub fn notify<P: Serialize + ?Sized>(&self, method: &str, params: &P) -> Notification {
        Notification::new(self, method, sent::whole(Sent::nameless(params)))
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
        self.0.close_lanes();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.connection.close(close::DONE, "");
    }

    /// Waits until the connection is no more, and says why.
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionLost {
        self.0.connection.closed().await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.0.connection.remote_address();
        f.debug_struct("Client")
            .field("peer", &peer)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A lane for the next call: in turn, those that are over left out.
    fn lane(&self) -> usize {
        if self.lanes.len() == 1 {
            return 0;
        }
        let next = self.next_lane.fetch_add(1, Ordering::Relaxed);
        let turns = (0..self.lanes.len()).map(|turn| next.wrapping_add(turn) % self.lanes.len());
        turns
            .clone()
            .find(|lane| !self.lanes[*lane].is_over())
            .unwrap_or(next % self.lanes.len())
    }

    /// The id of the next call on a stream of its own.
    fn next_alone(&self) -> CallId {
        CallId::alone(self.alone.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives up a call that left through a lane.
    fn cancel(&self, lane: usize, id: CallId) {
        let lane = &self.lanes[lane];
        if lane.forget(id) {
            // Behind its request it cannot come too early; on a stream of its own nothing can hold it up.
            lane.queue_cancel(id);
            self.control.queue_early_cancel(id);
        }
    }

    fn buffer(&self) -> Vec<u8> {
        self.buffers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    fn put_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() <= RETAINED && buffers.len() < POOLED {
            buffers.push(buffer);
        }
    }

    /// A timer that ends after `timeout`.
    fn timer(&self, timeout: Duration) -> Timer {
        let timer = self
            .timers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match (timer, Instant::now().checked_add(timeout)) {
            (Some(mut timer), Some(end)) => {
                timer.as_mut().reset(end);
                timer
            }
            // Tokio makes the best of a time that no clock can tell.
            _ => Box::pin(sleep(timeout)),
        }
    }

    fn put_timer_back(&self, timer: Timer) {
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        if timers.len() < POOLED {
            timers.push(timer);
        }
    }

    fn close_lanes(&self) {
        self.lanes.iter().for_each(|lane| lane.close());
        self.control.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close_lanes();
    }
}

struct CloseOnDrop(Connection);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(close::DONE, "");
    }
}

/// Runs a lane's task, but for not much longer once the lane is closed.
async fn within_linger(lane: Arc<Lane>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = lane.has_lingered() => lane.lose(ConnectionLost::ClosedHere),
    }
}

/// Opens a lane's stream and moves its bytes; opens another if the server gives up the stream and not the connection.
async fn run_lane(lane: Arc<Lane>, open: Arc<CloseOnDrop>, reply_limit: usize) {
    loop {
        let (send, recv) = match open.0.open_bi().await {
            Ok(stream) => stream,
            Err(lost) => return lane.lose(lost),
        };
        let interrupted = tokio::select! {
            read = lane.read(recv, reply_limit) => match read {
                Ok(()) => return lane.drained(),
                Err(lost) => lost,
            },
            written = lane.write(send) => match written {
                // A closed client has sent its last request and waits for no answers.
                Ok(()) => return lane.lose(ConnectionLost::ClosedHere),
                Err(lost) => lost,
            },
        };
        match interrupted {
            StreamLost::Connection(lost) => return lane.lose(lost),
            lost => lane.interrupted(lost.into()),
        }
    }
}

/// Opens the stream of cancellations when there is one.
async fn run_control(control: Arc<Lane>, open: Arc<CloseOnDrop>) {
    if !control.first_request().await {
        return;
    }
    let written = match open.0.open_uni().await {
        Ok(send) => control.write(send).await.map_err(ConnectionLost::from),
        Err(lost) => Err(lost),
    };
    if let Err(lost) = written {
        control.lose(lost);
    }
}
