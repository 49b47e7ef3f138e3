//! The context of a call, for its handler.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call_defaults::CallDefaults;
use crate::codec::de::Value;
use crate::codec::metadata::{Metadata, MetadataError};
use crate::deadline;
use crate::outcome::Outcome;
use crate::phase::{Phase, PhaseWatch};
use crate::reply_metadata::ReplyMetadata;
use crate::sync::{Mutex, MutexGuard, get_mut, lock};
use crate::tls::Certificate;
use crate::transport::Connection;

/// The context of a call: the caller, the deadline, and the metadata that the request carries besides its arguments.
/// `Debug` shows the names of the metadata and hides the values.
///
/// A method receives it through a parameter `cx: &Context`, which is not sent on the wire.
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
    /// Metadata from outside of the request, which takes precedence.
    defaults: Option<Arc<CallDefaults>>,
    response_meta: ReplyMetadata,
    extensions: Extensions,
    cancellation: OnceLock<CancellationToken>,
    /// The outcome of the call, if its handler was dropped before its end.
    aborted: OnceLock<Outcome>,
}

/// The type of the parameter that takes the context of a call: [`Context`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` was taken for `rpc_runtime::Context`, because of its name",
    label = "not the context of a call",
    note = "to send this type, take it by value, or name it otherwise: `use … as …`"
)]
pub trait CallContext {
    /// Returns the context itself.
    fn of(context: &Context) -> &Self;
}

impl CallContext for Context {
    #[inline]
    fn of(context: &Context) -> &Self {
        context
    }
}

/// The context that all calls of a connection share.
pub(crate) struct ConnectionContext {
    pub(crate) peer: PeerAddress,
    pub(crate) certificate: Option<Certificate>,
    /// The handle that calls the peer. Its type belongs to `client` and is not known here.
    pub(crate) callback: Arc<dyn Any + Send + Sync>,
    pub(crate) extensions: Extensions,
    pub(crate) phase: PhaseWatch,
}

impl ConnectionContext {
    /// Returns the context of calls without a connection.
    pub(crate) fn unconnected() -> Self {
        Self {
            peer: PeerAddress::default(),
            certificate: None,
            callback: Arc::new(()),
            extensions: Extensions::default(),
            phase: PhaseWatch::never(),
        }
    }
}

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionContext")
            .field("peer", &self.peer.current())
            .finish_non_exhaustive()
    }
}

/// The address of a connection's peer, which the peer may change.
#[derive(Debug, Default)]
pub(crate) struct PeerAddress {
    /// Weak: the contexts of its calls do not keep the connection alive.
    connection: Weak<Connection>,
    first: Option<SocketAddr>,
    /// The last address, set once the connection has ended.
    last: OnceLock<SocketAddr>,
}

impl PeerAddress {
    pub(crate) fn of(connection: &Arc<Connection>) -> Self {
        Self {
            connection: Arc::downgrade(connection),
            first: connection.remote_address(),
            last: OnceLock::new(),
        }
    }

    /// Returns the current address, or the last one if the connection has ended.
    pub(crate) fn current(&self) -> Option<SocketAddr> {
        match self.connection.upgrade() {
            Some(connection) => connection.remote_address(),
            None => self.last.get().copied().or(self.first),
        }
    }

    /// Stores the address when the connection ends.
    pub(crate) fn keep(&self) {
        if let Some(address) = self.current() {
            let _ = self.last.set(address);
        }
    }
}

/// Copies the context for work that outlives the handler. Both share one cancellation, and the metadata of the response.
impl Clone for Context {
    fn clone(&self) -> Self {
        // Created before the copy, so that both share one token.
        self.cancellation();
        Self {
            connection: Arc::clone(&self.connection),
            deadline: self.deadline,
            meta: self.meta.clone(),
            defaults: self.defaults.clone(),
            response_meta: self.response_meta.share(),
            extensions: self.extensions.clone(),
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
            defaults: None,
            response_meta: ReplyMetadata::default(),
            extensions: Extensions::default(),
            cancellation: OnceLock::new(),
            aborted: OnceLock::new(),
        }
    }

    /// Resets the context for a new call.
    #[inline]
    pub(crate) fn begin(&mut self, deadline: Option<Instant>, meta: Option<Value<'_, '_>>) {
        self.deadline = deadline;
        if meta.is_some() || !self.meta.is_empty() {
            self.meta.read(meta);
        }
        self.response_meta.begin();
        // A call whose future was dropped has not ended.
        self.extensions.clear();
        self.cancellation.take();
        self.aborted.take();
    }

    /// Sets the metadata that calls have from outside of their requests.
    pub(crate) fn set_defaults(&mut self, defaults: Option<&Arc<CallDefaults>>) {
        self.defaults = defaults.cloned();
    }

    /// Drops the values of the call, which has ended.
    pub(crate) fn end(&mut self) {
        self.extensions.clear();
    }

    /// Returns the metadata of the response, if the worker has had any.
    #[inline]
    pub(crate) fn response_meta(&self) -> Option<&ReplyMetadata> {
        self.response_meta.is_used().then_some(&self.response_meta)
    }

    /// Releases the buffers of metadata that exceed `limit` bytes.
    pub(crate) fn shrink(&mut self, limit: usize) {
        self.meta.shrink(limit);
        self.response_meta.shrink(limit);
    }

    /// Cancels the token, if the handler requested one, because the call has ended before its handler.
    pub(crate) fn cancel(&self) {
        if let Some(token) = self.cancellation.get() {
            token.cancel();
        }
    }

    /// Records how the call ended, before its handler is dropped.
    pub(crate) fn abort_with(&self, outcome: Outcome) {
        let _ = self.aborted.set(outcome);
    }

    /// Returns how the call ended, if its handler was dropped.
    pub(crate) fn aborted_with(&self) -> Option<Outcome> {
        self.aborted.get().copied()
    }

    /// Runs `run`, whose calls inherit the deadline.
    #[inline]
    pub(crate) fn with_deadline<T>(&self, run: impl FnOnce() -> T) -> T {
        match self.deadline {
            Some(deadline) => deadline::with(deadline, run),
            None => run(),
        }
    }

    pub(crate) fn callback(&self) -> &(dyn Any + Send + Sync) {
        &*self.connection.callback
    }

    /// Returns the caller's current address, or `None` for a client in the same process. A client may change its
    /// address while its call runs, because QUIC connections survive such a change.
    ///
    /// Reads the address from the connection at each call and does not allocate. Once the connection has ended, it
    /// returns the last address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.connection.peer.current()
    }

    /// Returns the certificate whose key the caller has proved to own. Returns `None` if the server did not request one
    /// or the caller has none. Does not allocate.
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
    /// [`request_client_certificate`](crate::ServerBuilder::request_client_certificate) request and verify it.
    pub fn peer_certificate(&self) -> Option<&Certificate> {
        self.connection.certificate.as_ref()
    }

    /// Returns the time at which the caller stops waiting, if the request has a timeout. Calls that the handler makes
    /// inherit it: see [`Call`](crate::Call#deadlines).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the time for which the caller will still wait, if the request has a timeout.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the value of the request's metadata of this name, such as trace context or authorization. For a request over
    /// HTTP, a header that the server takes as metadata comes first.
    pub fn meta(&self, name: &str) -> Option<&str> {
        match &self.defaults {
            Some(defaults) => defaults
                .metadata()
                .get(name)
                .or_else(|| self.meta.get(name)),
            None => self.meta.get(name),
        }
    }

    /// Returns all of the request's metadata, as names and values.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let defaults = self.defaults.as_deref().map(CallDefaults::metadata);
        let is_own = move |name| defaults.is_none_or(|defaults| defaults.get(name).is_none());
        let own = self.meta.iter().filter(move |(name, _)| is_own(name));
        defaults.into_iter().flat_map(Metadata::iter).chain(own)
    }

    /// Sets metadata of the response, which the caller reads with
    /// [`Call::with_response_metadata`](crate::Call::with_response_metadata). It replaces an earlier value of the same
    /// name, also one that a [`Middleware`](crate::middleware::Middleware) has set.
    ///
    /// The reply carries what was set until the call ended, whether it holds a result or an error. The reply to a stream
    /// of items follows the last item. A notification has no reply, so its metadata is dropped. So is metadata that would
    /// make a reply larger than [`Limits::max_response_bytes`](crate::Limits::max_response_bytes).
    ///
    /// Copies of the context set the metadata of the same response. Without metadata, a call costs nothing for it.
    ///
    /// ```
    /// use rpc_runtime::{Client, Context, rpc};
    ///
    /// #[rpc]
    /// trait Search {
    ///     async fn search(&self, cx: &Context, text: &str) -> Vec<String>;
    /// }
    ///
    /// struct Index;
    ///
    /// impl Search for Index {
    ///     async fn search(&self, cx: &Context, text: &str) -> Vec<String> {
    ///         let _ = cx.set_response_meta("requests-left", "41");
    ///         vec![text.to_owned()]
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let search = SearchClient::new(Client::local(SearchServer::new(Index)));
    /// let (found, metadata) = search.search("pear").with_response_metadata().await;
    /// assert_eq!(found.unwrap(), ["pear"]);
    /// assert_eq!(metadata.get("requests-left"), Some("41"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error, and sets nothing, if the response would have more than 64 names, or names and values of more
    /// than 8 KiB, if the name or the value contains a control character, or if the call has ended.
    pub fn set_response_meta(&self, name: &str, value: &str) -> Result<(), MetadataError> {
        self.response_meta.set(name, value)
    }

    /// Returns a token for work that outlives the handler's future, such as a spawned task or a loop in a blocking
    /// method.
    ///
    /// The future of a cancelled call is dropped, so a handler that only awaits needs no token.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(
            self.cancellation
                .get_or_init(CancellationToken::new)
                .clone(),
        )
    }

    /// Returns a future that resolves when the server drains, for calls that run until they are told to end, such as
    /// subscriptions. They would keep [`ServerHandle::shutdown`](crate::ServerHandle::shutdown) waiting until its limit.
    /// A call that soon ends by itself needs no notice, since a server that drains lets it finish.
    ///
    /// Resolves at once if the server drains already. Never resolves for calls that are served by a client, or within the
    /// process.
    ///
    /// ```
    /// use futures_util::{Stream, StreamExt, stream};
    /// use rpc_runtime::{Context, rpc};
    ///
    /// #[rpc]
    /// trait Clock {
    ///     fn ticks(&self, cx: &Context) -> impl Stream<Item = u64>;
    /// }
    ///
    /// struct Ticking;
    /// impl Clock for Ticking {
    ///     fn ticks(&self, cx: &Context) -> impl Stream<Item = u64> {
    ///         stream::iter(0..).take_until(cx.draining())
    ///     }
    /// }
    /// ```
    pub fn draining(&self) -> impl Future<Output = ()> + Send + Sync + use<> {
        self.connection.phase.clone().reaches(Phase::Draining)
    }

    /// Returns `true` if the server drains, for a loop in a blocking method. See [`draining`](Self::draining).
    pub fn is_draining(&self) -> bool {
        self.connection.phase.has_reached(Phase::Draining)
    }

    /// Returns the values of this call, such as the user that a [`Middleware`](crate::middleware::Middleware) has
    /// authenticated. They are dropped when the call ends. Copies of the context have copies of the values.
    ///
    /// Without a value they cost nothing. The first value of a call allocates.
    ///
    /// ```
    /// use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
    /// use rpc_runtime::{Client, Context, Service, rpc};
    ///
    /// struct User(String);
    ///
    /// struct Authenticate;
    ///
    /// impl Middleware for Authenticate {
    ///     async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
    ///         let name = call.context().meta("user").unwrap_or("guest");
    ///         call.context().extensions().insert(User(name.to_owned()));
    ///         next.run().await
    ///     }
    /// }
    ///
    /// #[rpc]
    /// trait Account {
    ///     async fn name(&self, cx: &Context) -> String;
    /// }
    ///
    /// struct Accounts;
    ///
    /// impl Account for Accounts {
    ///     async fn name(&self, cx: &Context) -> String {
    ///         cx.extensions().get::<User>().unwrap().0.clone()
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let service = Layered::new(Authenticate, AccountServer::new(Accounts));
    /// let account = AccountClient::new(Client::local(service));
    /// assert_eq!(account.name().meta("user", "ada").await.unwrap(), "ada");
    /// # }
    /// ```
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns the values that all calls of the connection share, such as a cache.
    ///
    /// A connection may carry the calls of several users. What belongs to one call, such as the user of its token,
    /// belongs in [`extensions`](Self::extensions): here another call would find it.
    pub fn connection_extensions(&self) -> &Extensions {
        &self.connection.extensions
    }
}

/// Signals that a call has ended before its handler: it was cancelled, passed its deadline, lost its connection, or was
/// answered by a [`Middleware`](crate::middleware::Middleware).
///
/// A blocking method cannot be stopped from outside, so a long one checks the token periodically:
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
    /// Returns `true` if the call was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the call is cancelled. Never resolves if the handler runs to its end.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// The values of a call or of a connection, at most one of each type.
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
    /// Inserts a value, replacing the previous value of its type.
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) {
        self.values().insert(TypeId::of::<T>(), Arc::new(value));
    }

    /// Returns the value of this type, if there is one.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.values();
        values.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }

    /// Returns the value of this type, inserting the default if there is none.
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

    /// Drops all values.
    #[inline]
    fn clear(&mut self) {
        if !get_mut(&mut self.0).is_empty() {
            self.drop_values();
        }
    }

    #[cold]
    fn drop_values(&mut self) {
        let values = std::mem::take(get_mut(&mut self.0));
        // A value may panic when it is dropped. That must not end other calls.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(values))) {
            // Dropping the payload could panic again.
            std::mem::forget(panic);
        }
    }

    fn values(&self) -> MutexGuard<'_, HashMap<TypeId, Arc<dyn Any + Send + Sync>>> {
        lock(&self.0)
    }
}

/// Copies the references to the values.
impl Clone for Extensions {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.values().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_begun_for_the_next_call_keeps_nothing_of_the_last() {
        let mut context = Context::new(Arc::new(ConnectionContext::unconnected()));
        context.begin(Some(Instant::now()), None);
        context.meta.set("user", "ada").unwrap();
        assert_eq!(context.meta("user"), Some("ada"));
        context.set_response_meta("left", "1").unwrap();
        let former = context.cancellation();
        context.cancel();
        context.abort_with(Outcome::TimedOut);

        context.begin(None, None);
        assert!(former.is_cancelled());
        assert!(!context.cancellation().is_cancelled());
        assert_eq!(context.aborted_with(), None);
        assert_eq!(context.deadline(), None);
        assert_eq!(context.metadata().next(), None);
        let metadata = context.response_meta().expect("it is reused");
        metadata.end(|metadata| panic!("{metadata:?}"));
        context.abort_with(Outcome::Cancelled);
        assert_eq!(context.aborted_with(), Some(Outcome::Cancelled));
    }
}
