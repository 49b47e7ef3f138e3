//! Serves: accepts connections and hands their streams to workers.
//!
//! [`admission`] says who may come in, and [`accept`] starts a [`worker`] for every stream of a [`connection`]; [`lane`] is
//! a stream with its workers. A message passes [`admit`], which answers what the protocol itself answers, and [`answer`],
//! which runs the handler; a [`batch`] is many of them. [`calls`] finds those that wait, to cancel them; [`scratch`] is what
//! is used again. [`discovery`] tells what is served. [`patience`] is how long a stream may keep its server waiting, [`backlog`] what waits to be sent,
//! [`conduct`] what ends a connection, [`leaving`] what a drain waits for.

mod accept;
mod admit;
mod batch;
mod buffers;
mod connection;
mod discover;
mod in_flight;
mod invoke;
mod limits;
mod raw;
mod recv;
mod request;
#[cfg(all(test, feature = "__shuttle"))]
mod shuttle_tests;
mod stream;
mod streaming;
#[cfg(test)]
mod tests;
mod unacked;
mod worker;

use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::client::callback::{Callback, IntoServePeer, ServePeer};
use crate::description::discover::DiscoverOptions;
use crate::description::names::{DuplicateMethod, check_names};
use crate::description::openrpc::OpenRpc;
use crate::escape::Escaped;
use crate::limits::Limits;
use crate::server::connection::{Phase, ServerShared};
use crate::server::discover::DiscoverReply;
use crate::server::limits::connections::{ConnectionLimits, Rejection};
pub use crate::server::raw::Responder;
use crate::service::{Router, Service};
use crate::tls::{ClientAuth, CurrentIdentity, Identity, Trust, TrustError, server_config};
use crate::transport::quic::Listener;
use crate::transport::{self, close};

/// More calls than any machine runs at once, and as many as can be counted.
const MOST_CALLS: usize = 1 << 28;

/// How often the others are let run before a shutdown returns.
const FAREWELLS: usize = 32;

/// How long the last goodbyes may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server on a UDP socket, with one or more services.
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::{Identity, Server, rpc};
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
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::self_signed(["localhost"])?;
/// let server = Server::builder(identity).service(GreeterServer::new(Hello)).bind("127.0.0.1:0")?;
/// println!("listening on {}", server.local_addr()?);
///
/// let handle = server.handle();
/// let serving = tokio::spawn(server.run());
/// handle.shutdown(Duration::from_secs(5)).await;
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    handle: ServerHandle,
    admission: Arc<ConnectionLimits>,
    acceptor: Arc<dyn ServePeer>,
}

impl Server {
    /// Starts building a server that proves itself to clients with `identity`.
    pub fn builder(identity: Identity) -> ServerBuilder {
        ServerBuilder {
            identity,
            client_auth: ClientAuth::default(),
            limits: Limits::default(),
            discovery: DiscoverOptions::default(),
            router: (),
        }
    }

    /// The address that the server listens on; of use when it was bound to port 0.
    ///
    /// # Errors
    /// When the socket does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_address()
    }

    /// A handle to shut the server down with, or to give it a new certificate.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Serves until the server is shut down with its [`handle`](Self::handle).
    ///
    /// Dropping the future, or the server, closes every connection at once.
    pub async fn run(self) {
        let Self {
            listener,
            handle,
            admission,
            acceptor,
        } = self;
        // Dropped last: then the socket is free.
        let _running = handle.runs.token();
        let listener = CloseOnDrop(listener);
        let mut phase = handle.phase.subscribe();
        let handshake_timeout = admission.limits().handshake_timeout;
        loop {
            let incoming = tokio::select! {
                incoming = listener.0.accept() => incoming,
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
            };
            let Some(incoming) = incoming else { break };
            let address = incoming.remote_address();
            let mut place = match admission.admit(address.ip(), incoming.is_proven()) {
                Ok(place) => place,
                Err(reason) => {
                    tracing::debug!(%address, ?reason, "a client is not let in");
                    match reason {
                        Rejection::Unproven => incoming.ask_for_proof(),
                        Rejection::Full => incoming.refuse(),
                        Rejection::Busy => incoming.ignore(),
                    }
                    continue;
                }
            };
            let acceptor = Arc::clone(&acceptor);
            handle.connections.spawn(async move {
                match tokio::time::timeout(handshake_timeout, incoming.handshake()).await {
                    Ok(Ok(connection)) => {
                        place.arrive();
                        acceptor
                            .serve(transport::Connection::Quic(connection), None)
                            .await;
                    }
                    Ok(Err(lost)) => {
                        tracing::debug!(%address, lost = %Escaped(lost), "handshake failed")
                    }
                    Err(_) => tracing::debug!(%address, "handshake took too long"),
                }
            });
        }
        // Those who come now are told so, and need not wait for silence.
        while let Some(incoming) = listener.0.accept().await {
            incoming.refuse();
        }
    }
}

struct CloseOnDrop(Listener);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(close::CUT_OFF, "shutting down");
    }
}

/// Shuts a [`Server`] down, and gives it a new certificate. Cheap to clone.
///
/// ```no_run
/// use std::time::Duration;
/// use rpc_runtime::{Identity, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::from_pem_files("chain.pem", "key.pem")?;
/// let server = Server::builder(identity).bind("0.0.0.0:4433")?;
/// let handle = server.handle();
/// let serving = tokio::spawn(server.run());
///
/// tokio::signal::ctrl_c().await?;
/// if !handle.shutdown(Duration::from_secs(10)).await {
///     eprintln!("some calls were cut off");
/// }
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ServerHandle {
    identity: Arc<CurrentIdentity>,
    /// Gone once the server is shut down: whoever still has a handle does not keep the socket.
    listener: Arc<Mutex<Option<Listener>>>,
    connections: TaskTracker,
    /// Whether [`Server::run`] is running.
    runs: TaskTracker,
    phase: watch::Sender<Phase>,
    /// Whether the first shutdown finished every call.
    finished: Arc<OnceLock<bool>>,
}

impl ServerHandle {
    /// Proves the server to its next clients with `identity`, before the certificate that it has expires, say. Connections
    /// that are made live on.
    ///
    /// ```
    /// use std::path::Path;
    /// use std::time::Duration;
    /// use rpc_runtime::{Identity, ServerHandle};
    ///
    /// /// Reads the certificate again every hour. What cannot be read leaves the old one in place.
    /// async fn renew(handle: ServerHandle, chain: &Path, key: &Path) {
    ///     loop {
    ///         tokio::time::sleep(Duration::from_secs(3600)).await;
    ///         match Identity::from_pem_files(chain, key) {
    ///             Ok(identity) => handle.set_identity(identity),
    ///             Err(error) => eprintln!("the certificate was not renewed: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn set_identity(&self, identity: Identity) {
        self.identity.set(identity);
    }

    /// Drains the server, then closes it: running calls finish and are answered, new ones are refused as not
    /// executed. Then the address is free for another server.
    ///
    /// What is not done within `limit` is ended: streams of items behind the item that they have come to, with an error
    /// that says so ([`CallError::StreamEnded`](crate::CallError::StreamEnded)), for which they have another second; other calls
    /// are cut off.
    ///
    /// Returns whether every call was finished. Calling it again waits for the same end.
    ///
    /// Cancel safe: the server goes on draining, without a limit.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.reach(Phase::Draining);
        self.connections.close();
        let drained = tokio::time::timeout(limit, self.connections.wait())
            .await
            .is_ok();
        if !drained {
            self.reach(Phase::Ending);
            let _ = tokio::time::timeout(GOODBYE, self.connections.wait()).await;
        }
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(listener) = listener {
            listener.close(close::CUT_OFF, "shutting down");
            let _ = tokio::time::timeout(GOODBYE, listener.idle()).await;
        }
        self.runs.close();
        let _ = tokio::time::timeout(GOODBYE, self.runs.wait()).await;
        // The task that has the socket sees that nobody wants it any more.
        for _ in 0..FAREWELLS {
            tokio::task::yield_now().await;
        }
        *self.finished.get_or_init(|| drained)
    }

    /// It never goes back.
    fn reach(&self, phase: Phase) {
        self.phase.send_if_modified(|reached| {
            let is_further = *reached < phase;
            if is_further {
                *reached = phase;
            }
            is_further
        });
    }
}

/// A server in the making. [`Server::builder`] starts one.
///
/// Its type changes with each service that is added: see [`rpc`](crate::rpc#services-chosen-at-run-time) for services
/// that are chosen at run time.
///
/// ```
/// use rpc_runtime::{Identity, Limits, Server, rpc};
///
/// #[rpc(namespace = "text")]
/// trait Text {
///     async fn count(&self, text: &str) -> usize;
/// }
///
/// #[rpc(namespace = "math")]
/// trait Math {
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
/// # struct Counter;
/// # impl Text for Counter { async fn count(&self, text: &str) -> usize { text.len() } }
/// # struct EntryBuffers;
/// # impl Math for EntryBuffers { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::self_signed(["localhost"])?)
///     .service(TextServer::new(Counter))
///     .service(MathServer::new(EntryBuffers))
///     .limits(Limits { request: 64 << 10, ..Limits::default() })
///     .bind("127.0.0.1:0")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ServerBuilder<R = ()> {
    identity: Identity,
    client_auth: ClientAuth,
    limits: Limits,
    discovery: DiscoverOptions,
    router: R,
}

#[allow(private_bounds)] // the list of services is nobody's to name
impl<R> ServerBuilder<R> {
    /// Adds a service. All services of a server share its address and its connections.
    pub fn service<S: Service>(self, service: S) -> ServerBuilder<(R, S)> {
        let Self {
            identity,
            client_auth,
            limits,
            discovery,
            router,
        } = self;
        ServerBuilder {
            identity,
            client_auth,
            limits,
            discovery,
            router: (router, service),
        }
    }

    /// Sets what the server takes from its clients.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes changes to the document with which `rpc.discover` is answered: its title and version, and what it leaves
    /// out. It starts with all services. It is made once, when somebody asks first.
    ///
    /// ```
    /// # use rpc_runtime::{Identity, Server, rpc};
    /// # #[rpc(namespace = "desk")]
    /// # trait EntryBuffers { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Clerk;
    /// # impl EntryBuffers for Clerk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder(Identity::self_signed(["localhost"])?)
    ///     .service(DeskServer::new(Clerk))
    ///     .openrpc(|document| {
    ///         let public = document.retain(|method| !method.name.starts_with("desk.admin."));
    ///         public.title("Front desk").version("3.1.0")
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn openrpc<F>(mut self, edit: F) -> Self
    where
        F: Fn(OpenRpc) -> OpenRpc + Send + Sync + 'static,
    {
        self.discovery.edit = Some(Arc::new(edit));
        self
    }

    /// Whether the server answers `rpc.discover` with what it serves. Default: yes. Otherwise the method is not found.
    pub fn discover(mut self, discover: bool) -> Self {
        self.discovery.is_off = !discover;
        self
    }

    /// Asks every client for a certificate (mutual TLS), and refuses those that have none or none that `trust` knows:
    /// they cannot connect. A handler finds it in [`Context::peer_certificate`](crate::Context::peer_certificate).
    ///
    /// The certificate's names say who the client is, and are the handlers' to look at: any name is let in that a trusted
    /// authority has signed. One that says what it is for must say "client authentication".
    pub fn require_client_certificate(mut self, trust: Trust) -> Self {
        self.client_auth = ClientAuth::Required(trust);
        self
    }

    /// The same, but clients may have none. A certificate that `trust` does not know is refused all the same.
    pub fn request_client_certificate(mut self, trust: Trust) -> Self {
        self.client_auth = ClientAuth::Optional(trust);
        self
    }

    /// Opens the socket. Nothing is served before [`Server::run`].
    ///
    /// Of a name's several addresses the first is taken. Looking the name up blocks the thread.
    ///
    /// # Errors
    /// An address that cannot be bound, trust that cannot be used, a method that two services have, or no tokio runtime
    /// to run on.
    ///
    /// # Panics
    /// In a tokio runtime without I/O ([`enable_all`](tokio::runtime::Builder::enable_all)). Without timers the socket is
    /// opened, but nobody can connect: the task of each connection panics.
    pub fn bind(self, address: impl ToSocketAddrs) -> Result<Server, BindError>
    where
        R: Router,
    {
        check_names(&R::descriptions())?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BindError::NoRuntime);
        }
        let address = address
            .to_socket_addrs()
            .and_then(|mut found| {
                found
                    .next()
                    .ok_or(std::io::ErrorKind::AddrNotAvailable.into())
            })
            .map_err(BindError::Address)?;
        let reset_key = self.identity.reset_key();
        let identity = CurrentIdentity::new(self.identity);
        let tls = server_config(Arc::clone(&identity), self.client_auth)?;
        let listener =
            Listener::bind(address, tls, reset_key, &self.limits).map_err(BindError::Address)?;
        let phase = watch::Sender::new(Phase::Serving);
        let admission = ConnectionLimits::new(self.limits.clone());
        let shared = ServerShared::new(self.router, self.limits, self.discovery, phase.subscribe());
        let handle = ServerHandle {
            identity,
            listener: Arc::new(Mutex::new(Some(listener.clone()))),
            connections: TaskTracker::new(),
            runs: TaskTracker::new(),
            phase,
            finished: Arc::default(),
        };
        Ok(Server {
            listener,
            handle,
            admission,
            acceptor: Arc::new(Acceptor(Arc::new(shared))),
        })
    }
}

impl<R> ServerShared<R> {
    fn new(
        router: R,
        mut limits: Limits,
        discovery: DiscoverOptions,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        limits.calls = limits.calls.clamp(1, MOST_CALLS);
        limits.calls_per_connection = limits.calls_per_connection.clamp(1, MOST_CALLS);
        let calls = Arc::new(Semaphore::new(limits.calls));
        Self {
            router,
            limits,
            calls,
            phase,
            discovered: DiscoverReply::new(discovery),
        }
    }
}

struct Acceptor<R>(Arc<ServerShared<R>>);

impl<R: Router> ServePeer for Acceptor<R> {
    fn serve(
        &self,
        connection: transport::Connection,
        callback: Option<Callback>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(accept::serve(Arc::clone(&self.0), connection, callback))
    }
}

/// Serves connections that are never drained: those of a client, and those in memory.
impl<R: Router> IntoServePeer for R {
    fn into_serve_peer(self, limits: Limits, discover: DiscoverOptions) -> Arc<dyn ServePeer> {
        let (_, never) = watch::channel(Phase::Serving);
        let shared = ServerShared::new(self, limits, discover, never);
        Arc::new(Acceptor(Arc::new(shared)))
    }
}

/// Why a server could not be started.
///
/// ```
/// use rpc_runtime::{BindError, Identity, Server, rpc};
///
/// #[rpc]
/// trait Text { async fn count(&self) -> usize; }
/// #[rpc]
/// trait Stock { async fn count(&self) -> usize; }
/// # struct Both;
/// # impl Text for Both { async fn count(&self) -> usize { 0 } }
/// # impl Stock for Both { async fn count(&self) -> usize { 0 } }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::IdentityError> {
/// let builder = Server::builder(Identity::self_signed(["localhost"])?);
/// let bound = builder.service(TextServer::new(Both)).service(StockServer::new(Both)).bind("127.0.0.1:0");
/// assert!(matches!(bound, Err(BindError::DuplicateMethod { method: "count", services: ["Text", "Stock"] })));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be resolved or bound.
    #[error("cannot listen on the address")]
    Address(#[source] std::io::Error),
    /// What clients' certificates are to be checked against cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Two services have a method of the same name; give one of them a `namespace`.
    #[error("{}", DuplicateMethod { method, services: *services })]
    DuplicateMethod {
        /// The name on the wire.
        method: &'static str,
        /// The traits.
        services: [&'static str; 2],
    },
    /// There is no tokio runtime; call `bind` inside `#[tokio::main]` or `Runtime::block_on`.
    #[error("a server needs a tokio runtime; bind it inside one")]
    NoRuntime,
}

impl From<DuplicateMethod> for BindError {
    fn from(DuplicateMethod { method, services }: DuplicateMethod) -> Self {
        Self::DuplicateMethod { method, services }
    }
}
