//! What a handler can know about its call.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::codec::de::Value;
use crate::deadline;
use crate::outcome::Outcome;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::tls::Certificate;

/// What a handler can know about its call: who calls, how long there is, what travels beside the arguments.
///
/// A method that wants it takes a parameter `cx: &Context`, which is not on the wire.
///
/// ```
/// use rpc_runtime::{Context, rpc};
///
/// #[rpc]
/// trait Audit {
///     async fn record(&self, cx: &Context, event: &str);
/// }
///
/// struct Log;
/// impl Audit for Log {
///     async fn record(&self, cx: &Context, event: &str) {
///         println!("{:?} {:?}: {event}", cx.peer(), cx.meta("user"));
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Context {
    connection: Arc<ConnectionContext>,
    deadline: Option<Instant>,
    meta: Metadata,
    cancellation: OnceLock<CancellationToken>,
    /// Why the handler did not come to its end.
    aborted: OnceLock<Outcome>,
}

/// What all calls of a connection share.
pub(crate) struct ConnectionContext {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) certificate: Option<Certificate>,
    /// How the peer is called back: the client's own type, which is not known here.
    pub(crate) callback: Arc<dyn Any + Send + Sync>,
    pub(crate) extensions: Extensions,
}

impl ConnectionContext {
    /// Returns the context of calls that came without a connection.
    pub(crate) fn unconnected() -> Self {
        Self {
            peer: None,
            certificate: None,
            callback: Arc::new(()),
            extensions: Extensions::default(),
        }
    }
}

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionContext")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// For work that outlives the handler. Both hear of the same cancellation.
impl Clone for Context {
    fn clone(&self) -> Self {
        // Made before the copy, so that there is only one.
        self.cancellation();
        Self {
            connection: Arc::clone(&self.connection),
            deadline: self.deadline,
            meta: self.meta.clone(),
            cancellation: self.cancellation.clone(),
            aborted: self.aborted.clone(),
        }
    }
}

impl Context {
    pub(crate) fn new(connection: Arc<ConnectionContext>) -> Self {
        Self {
            connection,
            deadline: None,
            meta: Metadata::default(),
            cancellation: OnceLock::new(),
            aborted: OnceLock::new(),
        }
    }

    /// Starts the context of a call; what the one before left is gone.
    pub(crate) fn begin(&mut self, deadline: Option<Instant>, meta: Option<Value<'_, '_>>) {
        self.deadline = deadline;
        self.meta.read(meta);
        self.cancellation.take();
        self.aborted.take();
    }

    /// Gives back what large metadata made of it.
    pub(crate) fn shrink(&mut self, limit: usize) {
        if self.meta.text.capacity() + self.meta.ends.capacity() > limit {
            self.meta = Metadata::default();
        }
    }

    /// Tells whoever asked for it that the call ended before its handler did.
    pub(crate) fn cancel(&self) {
        if let Some(token) = self.cancellation.get() {
            token.cancel();
        }
    }

    /// Says how the call ends, before its handler is dropped.
    pub(crate) fn abort_with(&self, outcome: Outcome) {
        let _ = self.aborted.set(outcome);
    }

    /// How the call ended, if its handler was dropped.
    pub(crate) fn aborted_with(&self) -> Option<Outcome> {
        self.aborted.get().copied()
    }

    /// Lets calls that are made meanwhile inherit the deadline.
    pub(crate) fn lend_deadline<T>(&self, run: impl FnOnce() -> T) -> T {
        match self.deadline {
            Some(deadline) => deadline::with(deadline, run),
            None => run(),
        }
    }

    pub(crate) fn callback(&self) -> &(dyn Any + Send + Sync) {
        &*self.connection.callback
    }

    /// The caller's address; `None` for a client in the same process.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.connection.peer
    }

    /// The certificate that the caller has proved to own; `None` for one who was not asked, or has none. Looking at it
    /// allocates nothing.
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use rpc_runtime::Context;
    ///
    /// fn is_known(cx: &Context, fingerprints: &HashSet<[u8; 32]>) -> bool {
    ///     cx.peer_certificate().is_some_and(|certificate| fingerprints.contains(&certificate.sha256()))
    /// }
    ///
    /// fn is_billing(cx: &Context) -> bool {
    ///     cx.peer_certificate().is_some_and(|certificate| certificate.uris().eq(["spiffe://example.org/billing"]))
    /// }
    /// ```
    ///
    /// [`ServerBuilder::require_client_certificate`](crate::ServerBuilder::require_client_certificate) and
    /// [`request_client_certificate`](crate::ServerBuilder::request_client_certificate) ask for it and have it checked.
    pub fn peer_certificate(&self) -> Option<&Certificate> {
        self.connection.certificate.as_ref()
    }

    /// When the caller stops waiting, if it said so. Calls that the handler makes inherit it: see
    /// [`Call`](crate::Call#deadlines).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller will still wait, if it said so.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The request's metadata of this name: trace context, authorization and the like.
    pub fn meta(&self, name: &str) -> Option<&str> {
        self.metadata()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All of the request's metadata.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.meta.iter()
    }

    /// A token for work that outlives the handler's future: a spawned task, or a loop in a blocking method.
    ///
    /// The future of a cancelled call is dropped, so a handler that only awaits needs no token.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(
            self.cancellation
                .get_or_init(CancellationToken::new)
                .clone(),
        )
    }

    /// Values that live as long as the connection: a login, a rate, a cache.
    pub fn extensions(&self) -> &Extensions {
        &self.connection.extensions
    }
}

/// Says when a call has ended without its handler: cancelled, past its deadline, its connection lost, or answered by a
/// [`Middleware`](crate::Middleware) in its place.
///
/// Nobody can stop a blocking method from outside, so one that takes long looks now and then:
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::{CallError, Client, Context, rpc};
///
/// #[rpc]
/// trait Search {
///     #[rpc(blocking)]
///     fn search(&self, cx: &Context) -> u64;
/// }
///
/// struct Forever;
/// impl Search for Forever {
///     fn search(&self, cx: &Context) -> u64 {
///         let cancellation = cx.cancellation();
///         let mut steps = 0;
///         while !cancellation.is_cancelled() {
///             steps += 1;
///         }
///         steps
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// let search = SearchClient::new(Client::local(SearchServer::new(Forever)));
/// let late = search.search().timeout(Duration::from_millis(20)).await;
/// assert!(matches!(late, Err(CallError::Timeout)));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cancellation(CancellationToken);

impl Cancellation {
    /// Whether it has happened.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it happens; never, if the handler runs to its end.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// A connection's own values, one for each type.
///
/// ```
/// use rpc_runtime::Extensions;
///
/// struct User(&'static str);
///
/// let extensions = Extensions::default();
/// extensions.insert(User("ada"));
/// assert_eq!(extensions.get::<User>().unwrap().0, "ada");
/// assert!(extensions.get::<String>().is_none());
/// ```
#[derive(Debug, Default)]
pub struct Extensions(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Extensions {
    /// Puts a value in, in place of the one of the same type.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) {
        self.values().insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// The value of this type, if there is one.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.values();
        values.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }

    /// The value of this type, which is put in if there is none.
    pub fn get_or_default<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.get().unwrap_or_else(|| {
            let made: Arc<T> = Arc::default();
            let mut values = self.values();
            let held = values
                .entry(TypeId::of::<T>())
                .or_insert_with(|| Arc::clone(&made) as _);
            Arc::clone(held).downcast().unwrap_or(made)
        })
    }

    fn values(&self) -> MutexGuard<'_, HashMap<TypeId, Arc<dyn Any + Send + Sync>>> {
        lock(&self.0)
    }
}

/// A request's metadata, in buffers that are used again.
#[derive(Debug, Clone, Default)]
struct Metadata {
    text: String,
    /// Where each name and each value ends in `text`.
    ends: Vec<(usize, usize)>,
}

impl Metadata {
    fn read(&mut self, meta: Option<Value<'_, '_>>) {
        self.text.clear();
        self.ends.clear();
        for (name, value) in meta.and_then(Value::members).into_iter().flatten() {
            self.text.push_str(name);
            let name_end = self.text.len();
            self.text.push_str(value.as_str().unwrap_or_default());
            self.ends.push((name_end, self.text.len()));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&(name_end, value_end)| {
            let pair = (
                self.text.get(start..name_end)?,
                self.text.get(name_end..value_end)?,
            );
            start = value_end;
            Some(pair)
        })
    }
}
