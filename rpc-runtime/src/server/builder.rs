//! `ServerBuilder`: the services, limits and identity of a server.

use std::net::{ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use thiserror::Error;

use crate::codec::error::ErrorObject;
use crate::context::Context;
use crate::description::discover::DiscoverOptions;
use crate::description::names::{DuplicateMethod, check_names};
use crate::description::openrpc::OpenRpc;
use crate::event::{Event, EventHook};
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::middleware::ServerLayer;
use crate::server::accept::Server;
use crate::server::gateway::ServiceSet;
use crate::server::handle::ServerHandle;
use crate::server::health::HealthStates;
use crate::server::layers::{LayerStack, ServerLayers};
use crate::server::serve::Acceptor;
use crate::server::shared::{ServerShared, SharedSettings};
use crate::service::Service;
use crate::service::router::{Router, Services, Single};
use crate::tls::{ClientAuth, Identity, ServerTls, TlsError, Trust};
use crate::transport::quic::{Listener, ListenerKeys, ListenerSocket};
use crate::transport::settings::{TransportSettings, TransportSettingsError};

impl Server {
    /// Returns a builder of a server that presents the certificate of `identity` to clients.
    pub fn builder(identity: Identity) -> ServerBuilder {
        ServerBuilder {
            settings: ServerSettings {
                identity: Some(identity),
                ..ServerSettings::default()
            },
            router: (),
            layers: (),
        }
    }
}

impl ServiceSet {
    /// Returns a builder of services that are served without QUIC. [`ServerBuilder::build`] builds them.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            settings: ServerSettings::default(),
            router: (),
            layers: (),
        }
    }
}

/// Builds a [`Server`]. Created by [`Server::builder`].
///
/// The type of the builder changes with each service that is added. See [`rpc`](crate::rpc#services-chosen-at-run-time) for
/// services that are chosen at run time.
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
/// # struct Desk;
/// # impl Math for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::self_signed(["localhost"])?)
///     .service(TextServer::new(Counter))
///     .service(MathServer::new(Desk))
///     .limits(Limits { max_request_bytes: 64 << 10, ..Limits::default() })
///     .bind("127.0.0.1:0")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ServerBuilder<R = (), L = ()> {
    settings: ServerSettings,
    router: R,
    layers: L,
}

#[derive(Debug, Default)]
struct ServerSettings {
    /// `None` for a server without QUIC.
    identity: Option<Identity>,
    client_auth: ClientAuth,
    limits: Limits,
    transport: TransportSettings,
    discovery: DiscoverOptions,
    replica: Option<String>,
    events: EventHook,
}

#[allow(private_bounds)] // users need not name the list of services
impl<R, L> ServerBuilder<R, L> {
    /// Adds a service. All services of a server share its address and its connections.
    pub fn service<S: Service>(self, service: S) -> ServerBuilder<R::With<Single<S>>, L>
    where
        R: Services,
    {
        ServerBuilder {
            settings: self.settings,
            router: self.router.with(Single(service)),
            layers: self.layers,
        }
    }

    /// Wraps all services of the server in a layer, including those that are added later. The layer also sees calls of
    /// methods that no service has ([`RequestInfo::unknown_method`](crate::middleware::RequestInfo::unknown_method)).
    ///
    /// Of several layers, the first that was added is the outermost. They are outside of the middleware that wraps a single
    /// service. A [`Middleware`](crate::middleware::Middleware) is a layer that all services share; the layers of
    /// `rpc-layers` keep what they need for each service.
    ///
    /// ```
    /// use rpc_runtime::middleware::{Middleware, Next, RequestInfo, Response};
    /// use rpc_runtime::{Escaped, Identity, Server, Service};
    ///
    /// /// Logs calls of methods that do not exist.
    /// struct LogUnknown;
    ///
    /// impl Middleware for LogUnknown {
    ///     async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
    ///         if let Some(name) = call.unknown_method() {
    ///             eprintln!("unknown method {}", Escaped(name));
    ///         }
    ///         next.run().await
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder(Identity::self_signed(["localhost"])?)
    ///     .layer(LogUnknown)
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer<M: ServerLayer>(self, layer: M) -> ServerBuilder<R, LayerStack<L, M>> {
        ServerBuilder {
            settings: self.settings,
            router: self.router,
            layers: LayerStack::new(self.layers, layer),
        }
    }

    /// Sets the limits on what the server accepts from its clients.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Names this server among the replicas that share its certificate and key. Defaults to the name of the host with the
    /// address that the server is bound to.
    ///
    /// A server that was killed and is started again under the same name resets the connections of its predecessor at once.
    /// Under another name its clients notice the loss only at their idle timeout, of 15 s. Two servers that run at the same
    /// time need different names: an attacker who can read a client's packets could otherwise make one server reset the
    /// connections of the other (RFC 9000, section 21.11).
    ///
    /// Set it if the host's name changes at a restart, as that of a new container does, or if hosts with equal names are
    /// bound to equal addresses, such as `0.0.0.0:4433`. The name is not secret and is not sent.
    pub fn replica(mut self, name: impl Into<String>) -> Self {
        self.settings.replica = Some(name.into());
        self
    }

    /// Passes each [`Event`] of the server to a function: of connections, handshakes and limits. A function that was set
    /// before is kept and called first.
    ///
    /// The function is called where the event happens, so it must not block. `rpc-layers` has a function that records all
    /// events as metrics. A [middleware](crate::middleware::Middleware) sees the calls themselves.
    pub fn on_event<F>(mut self, on_event: F) -> Self
    where
        F: Fn(&Event<'_>) + Send + Sync + 'static,
    {
        self.settings.events.add(on_event);
        self
    }

    /// Sets the settings of QUIC and of the socket: idle timeout, keep-alive, sizes of packets, congestion control, windows
    /// and the number of streams.
    pub fn transport(mut self, settings: TransportSettings) -> Self {
        self.settings.transport = settings;
        self
    }

    /// Edits the document that answers `rpc.discover`: its title and version, and which methods it omits. `edit`
    /// receives the document of all services and runs once, at the first request.
    ///
    /// ```
    /// # use rpc_runtime::{Identity, Server, rpc};
    /// # #[rpc(namespace = "desk")]
    /// # trait Desk { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Clerk;
    /// # impl Desk for Clerk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
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
        self.settings.discovery.edit = Some(Arc::new(edit));
        self
    }

    /// Sets whether the server answers `rpc.discover` with the description of its services. Defaults to `true`.
    /// Otherwise the method is not found. [`authorize_discover`](Self::authorize_discover) answers some callers only.
    pub fn discover(mut self, discover: bool) -> Self {
        self.settings.discovery.is_off = !discover;
        self
    }

    /// Sets a check that decides whether a caller may read the description of the services with `rpc.discover`. Defaults to
    /// none: every client that can connect may read it.
    ///
    /// `check` runs at each request, before the answer. It sees the metadata and the certificate of the caller, and returns
    /// the error for a caller that may not read the description. `rpc.discover` does not pass through the middleware of a
    /// service, so that a check of calls is no check of `rpc.discover`. A check that panics is answered with
    /// [−32603](crate::code::INTERNAL_ERROR).
    ///
    /// ```
    /// # use rpc_runtime::{Identity, Server, rpc};
    /// use rpc_runtime::ErrorObject;
    ///
    /// # #[rpc(namespace = "desk")]
    /// # trait Desk { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Clerk;
    /// # impl Desk for Clerk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder(Identity::self_signed(["localhost"])?)
    ///     .service(DeskServer::new(Clerk))
    ///     .authorize_discover(|cx| match cx.peer_certificate() {
    ///         Some(_) => Ok(()),
    ///         None => Err(ErrorObject::new(403, "only with a certificate")),
    ///     })
    ///     .bind("127.0.0.1:0")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn authorize_discover<F>(mut self, check: F) -> Self
    where
        F: Fn(&Context) -> Result<(), ErrorObject> + Send + Sync + 'static,
    {
        self.settings.discovery.check = Some(Arc::new(check));
        self
    }

    /// Requires a certificate from every client (mutual TLS). Clients without one, or with one that `trust` does not
    /// cover, cannot connect. A handler reads it from [`Context::peer_certificate`](crate::Context::peer_certificate).
    ///
    /// The names in the certificate identify the client, and checking them is left to the handlers: any name that a
    /// trusted authority has signed is accepted. A certificate with extended key usages must include client
    /// authentication.
    pub fn require_client_certificate(mut self, trust: Trust) -> Self {
        self.settings.client_auth = ClientAuth::Required(trust);
        self
    }

    /// Requests a certificate from every client, and accepts clients without one. A certificate that `trust` does not
    /// cover is rejected.
    pub fn request_client_certificate(mut self, trust: Trust) -> Self {
        self.settings.client_auth = ClientAuth::Optional(trust);
        self
    }

    /// Uses a configuration of rustls, for what [`Identity`] and [`Trust`] cannot express: a certificate for each server name,
    /// hardware keys, revocation lists or another cryptographic provider. It needs the feature `rustls-config`.
    ///
    /// The configuration has the server's certificate and key, and verifies the certificates of clients. The
    /// [`Identity`] of the builder only provides the key of stateless resets: keep it across restarts. So
    /// [`ServerHandle::set_identity`] changes only that key. The server sets the ALPN protocol, and disables early data.
    ///
    /// The versions of rustls that this crate and the application use must be the same, 0.23.
    ///
    /// # Errors
    /// [`bind`](Self::bind) returns [`TlsError::CipherSuites`] if the configuration cannot be used for QUIC.
    #[cfg(feature = "rustls-config")]
    pub fn rustls_config(mut self, config: rustls::ServerConfig) -> Self {
        self.settings.client_auth = ClientAuth::Rustls(Arc::new(config));
        self
    }

    /// Opens the socket. The server accepts no connections before [`Server::run`].
    ///
    /// If a name has several addresses, the first is used. Resolving the name blocks the thread.
    ///
    /// # Errors
    /// Fails if the address cannot be bound, a setting is outside its range, the trust anchors cannot be used, two services have a method of the same
    /// name, or there is no tokio runtime.
    ///
    /// # Panics
    /// Panics in a tokio runtime without I/O ([`enable_all`](tokio::runtime::Builder::enable_all)). Without timers the
    /// socket is opened, but no client can connect: the task of each connection panics.
    pub fn bind(self, address: impl ToSocketAddrs) -> Result<Server, BindError>
    where
        R: Router,
        L: ServerLayers<R>,
    {
        let address = || {
            let mut found = address.to_socket_addrs()?;
            let none = || std::io::ErrorKind::AddrNotAvailable.into();
            found.next().map(ListenerSocket::Address).ok_or_else(none)
        };
        self.listen(address)
    }

    /// Serves on a socket that the program has opened, for example with options of its own, or that it got from a service
    /// manager. Its buffers are left as they are.
    ///
    /// ```
    /// # use rpc_runtime::{Identity, Server};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let server = Server::builder(Identity::self_signed(["localhost"])?).bind_socket(socket)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails as [`bind`](Self::bind) does, and if the socket cannot be used.
    ///
    /// # Panics
    /// Panics as [`bind`](Self::bind) does.
    pub fn bind_socket(self, socket: UdpSocket) -> Result<Server, BindError>
    where
        R: Router,
        L: ServerLayers<R>,
    {
        self.listen(|| Ok(ListenerSocket::Open(socket)))
    }

    fn listen(
        self,
        socket: impl FnOnce() -> std::io::Result<ListenerSocket>,
    ) -> Result<Server, BindError>
    where
        R: Router,
        L: ServerLayers<R>,
    {
        let Self {
            settings,
            router,
            layers,
        } = self;
        let descriptions = R::descriptions();
        check_names(&descriptions)?;
        settings.transport.check()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(BindError::NoRuntime);
        }
        let Some(identity) = settings.identity else {
            return Err(BindError::NoIdentity);
        };
        let socket = socket().map_err(BindError::Address)?;
        let tls = ServerTls::new(settings.client_auth)?;
        let keys = ListenerKeys {
            tls: tls.config(&identity),
            secret: identity.secret(),
        };
        let replica = settings.replica.as_deref();
        let listener = Listener::bind(socket, keys, replica, &settings.limits, &settings.transport);
        let listener = listener.map_err(BindError::Address)?;
        if tls.presents_identity() {
            identity.warn_of_faults();
        }
        let parts = ServiceParts {
            limits: settings.limits,
            discovery: settings.discovery,
            events: settings.events,
            health: HealthStates::new(&descriptions),
            identity: Some((tls, identity)),
        };
        let services = parts.build(layers.apply(router), Some(listener.clone()));
        Ok(Server::new(listener, services))
    }

    /// Builds the services without a UDP socket, to serve them over other transports, such as HTTP with `rpc-http`. Its TLS
    /// listeners present the identity of the builder. The settings of QUIC have no effect.
    ///
    /// # Errors
    /// Returns an error if two services have a method of the same name, or the trust anchors for clients' certificates cannot
    /// be used.
    pub fn build(self) -> Result<ServiceSet, BindError>
    where
        R: Router,
        L: ServerLayers<R>,
    {
        let descriptions = R::descriptions();
        check_names(&descriptions)?;
        let settings = self.settings;
        let tls = ServerTls::new(settings.client_auth)?;
        let parts = ServiceParts {
            limits: settings.limits,
            discovery: settings.discovery,
            events: settings.events,
            health: HealthStates::new(&descriptions),
            identity: settings.identity.map(|identity| (tls, identity)),
        };
        Ok(parts.build(self.layers.apply(self.router), None))
    }
}

/// Serves one service, with the default limits.
impl<S: Service> From<S> for ServiceSet {
    fn from(service: S) -> Self {
        let parts = ServiceParts {
            limits: Limits::default(),
            discovery: DiscoverOptions::default(),
            events: EventHook::default(),
            health: HealthStates::new(&[S::DESCRIPTION]),
            identity: None,
        };
        parts.build(Single(service), None)
    }
}

/// The settings of services, whatever transports they are served over.
struct ServiceParts {
    limits: Limits,
    discovery: DiscoverOptions,
    events: EventHook,
    health: Arc<HealthStates>,
    identity: Option<(ServerTls, Identity)>,
}

impl ServiceParts {
    fn build<R: Router>(self, router: R, listener: Option<Listener>) -> ServiceSet {
        let memory = ServerMemory::new(&self.limits);
        let state = (Arc::clone(&memory), Arc::clone(&self.health));
        let identity = self.identity.as_ref();
        let identity = identity.map(|(tls, identity)| (tls.clone(), identity));
        let handle = ServerHandle::new(identity, listener, state);
        let shared = SharedSettings {
            limits: self.limits.clone(),
            memory,
            discover: self.discovery,
            phase: handle.phase(),
            events: self.events,
            health: self.health,
        };
        let shared = ServerShared::new(router, shared);
        ServiceSet::new(Acceptor(Arc::new(shared)), handle, self.limits)
    }
}

/// The reason why a server could not be started.
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
/// # async fn main() -> Result<(), rpc_runtime::tls::TlsError> {
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
    #[error("cannot listen on the address: {0}")]
    Address(std::io::Error),
    /// A setting of the transport is outside its range.
    #[error(transparent)]
    Transport(#[from] TransportSettingsError),
    /// The trust anchors for clients' certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// Two services have a method of the same name; give one of them a `namespace`.
    #[error("{}", DuplicateMethod { method, services: *services })]
    DuplicateMethod {
        /// The name of the method on the wire.
        method: &'static str,
        /// The names of the two traits.
        services: [&'static str; 2],
    },
    /// The builder has no identity; create it with [`Server::builder`].
    #[error("a server on a UDP socket needs an identity; create it with `Server::builder`")]
    NoIdentity,
    /// There is no tokio runtime; call `bind` inside `#[tokio::main]` or `Runtime::block_on`.
    #[error("a server needs a tokio runtime; bind it inside one")]
    NoRuntime,
}

impl From<DuplicateMethod> for BindError {
    fn from(DuplicateMethod { method, services }: DuplicateMethod) -> Self {
        Self::DuplicateMethod { method, services }
    }
}
