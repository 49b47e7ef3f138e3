//! What a handler can know about its call.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Callback, Client};
use crate::codec::de::Value;
use crate::middleware::Outcome;
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
    cut: OnceLock<Outcome>,
}

thread_local! {
    /// When the caller of the handler that runs on this thread stops waiting.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The deadline that a call made here and now inherits.
pub(crate) fn inherited_deadline() -> Option<Instant> {
    DEADLINE.get()
}

/// Puts back what calls inherited before.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}

/// What all calls of a connection share.
#[derive(Debug, Default)]
pub(crate) struct ConnectionContext {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) caller: Callback,
    pub(crate) extensions: Extensions,
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
            cut: self.cut.clone(),
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
            cut: OnceLock::new(),
        }
    }

    /// Starts the context of a call; what the one before left is gone.
    pub(crate) fn begin(&mut self, deadline: Option<Instant>, meta: Option<Value<'_, '_>>) {
        self.deadline = deadline;
        self.meta.read(meta);
        self.cancellation.take();
        self.cut.take();
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
    pub(crate) fn cut(&self, outcome: Outcome) {
        let _ = self.cut.set(outcome);
    }

    /// How the call ended, if its handler was dropped.
    pub(crate) fn cut_by(&self) -> Option<Outcome> {
        self.cut.get().copied()
    }

    /// Lets calls that are made meanwhile inherit the deadline.
    pub(crate) fn lend_deadline<T>(&self, run: impl FnOnce() -> T) -> T {
        let Some(own) = self.deadline else {
            return run();
        };
        let outer = DEADLINE.get();
        let _restore = Restore(outer);
        DEADLINE.set(Some(outer.map_or(own, |outer| outer.min(own))));
        run()
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

    /// A client of whoever calls, which serves with [`ClientBuilder::service`](crate::ClientBuilder::service): `C` is
    /// the `…Client` of a trait, or a [`Client`] for calls by name. Its calls leave on the connection on which this call
    /// came; they are calls as any others, with the same lanes, deadlines, errors and limits.
    ///
    /// ```
    /// use rpc_runtime::{Context, rpc};
    ///
    /// #[rpc]
    /// trait Jobs {
    ///     async fn run(&self, cx: &Context, steps: u32) -> Result<u32, rpc_runtime::ErrorObject>;
    /// }
    ///
    /// /// What the callers of `Jobs` serve.
    /// #[rpc]
    /// trait Progress {
    ///     #[rpc(notification)]
    ///     async fn made(&self, step: u32);
    /// }
    ///
    /// struct Worker;
    /// impl Jobs for Worker {
    ///     async fn run(&self, cx: &Context, steps: u32) -> Result<u32, rpc_runtime::ErrorObject> {
    ///         let progress = cx.client::<ProgressClient>();
    ///         for step in 1..=steps {
    ///             // Nobody is the worse for it if the caller has gone.
    ///             let _ = progress.made(step).await;
    ///         }
    ///         Ok(steps)
    ///     }
    /// }
    /// ```
    ///
    /// A handler may keep it. It lasts as long as the connection, and does not keep it open: then its calls end with
    /// [`CallError::Connection`](crate::CallError::Connection), those that have not left as not sent, and
    /// [`Client::closed`] says why. [`Client::close`] ends the calls to a caller, and not its connection. A client
    /// that connects again is another caller. Where there is no connection, with a [`Responder`](crate::Responder),
    /// calls end so from the start.
    ///
    /// A caller that serves nothing answers [−32601](crate::code::METHOD_NOT_FOUND), which is
    /// [`CallError::Remote`](crate::CallError::Remote).
    ///
    /// Handlers may call back and forth within one call. Each takes a place among the calls in flight of its side
    /// ([`Limits::calls_per_connection`](crate::Limits::calls_per_connection)) until it ends: where all are taken by
    /// handlers that wait for a call back to the same side, both sides wait until a deadline ends it.
    ///
    /// # Panics
    /// Outside a tokio runtime, the first time on a connection.
    pub fn client<C: From<Client>>(&self) -> C {
        C::from(self.connection.caller.client())
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
