//! Makes the connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::client::address::{Address, AddressError};
use crate::client::balance::outlier::Ejection;
use crate::client::call::ClientMeta;
use crate::client::callback::IntoServePeer;
use crate::client::reconnect::Dialer;
use crate::client::retry::backoff::Backoff;
use crate::client::{Client, Endpoints, Options};
use crate::description::discover::DiscoverOptions;
use crate::description::names::{DuplicateMethod, check_names};
use crate::limits::Limits;
use crate::service::{Router, Service};
use crate::tls::{Identity, Trust, TrustError, UntrustedReason, Verdict, client_config};
use crate::transport::quic::{self, HandshakeError};
use crate::transport::{Connection, ConnectionLost, memory};

/// How long resolving a name and the handshake may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A client in the making. [`Client::builder`] starts one.
///
/// ```no_run
/// use rpc_runtime::{Client, Trust};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder()
///     .trust(Trust::pem_file("server.pem")?)
///     .connect("example.org:4433")
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// Its type changes with each service that is added, as that of a [`ServerBuilder`](crate::ServerBuilder) does.
#[derive(Debug, Clone, Default)]
pub struct ClientBuilder<R = ()> {
    settings: Settings,
    limits: Limits,
    discovery: DiscoverOptions,
    router: R,
}

/// What a client needs to know to connect, now and again.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    trust: Trust,
    identity: Option<Identity>,
    server_name: Option<String>,
    connect_timeout: Option<Duration>,
    stays_lost: bool,
    backoff: Backoff,
    pub(super) ejection: Ejection,
    options: Options,
}

#[allow(private_bounds)] // the list of services is nobody's to name
impl<R> ClientBuilder<R> {
    /// Whom to believe. Default: the authorities that the operating system trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.settings.trust = trust;
        self
    }

    /// The certificate to show to a server that asks for one. Default: none.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.settings.identity = Some(identity);
        self
    }

    /// The name that the server's certificate must have, when it is not the host that is dialled.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.settings.server_name = Some(name.into());
        self
    }

    /// How long resolving the name and the handshake may take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = Some(timeout);
        self
    }

    /// How long a call may take that does not say so itself, all items of a stream included. Default: as long as the
    /// connection lives.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.options.timeout = Some(timeout);
        self
    }

    /// How many streams small calls share, 1 to 32. Default: 1, so that as many calls as possible leave in one packet. On a
    /// network that loses packets, more of them keep a lost one from holding up calls of the other streams.
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.settings.options.streams = lanes;
        self
    }

    /// How many bytes an answer may have. Default: 4 MiB. A larger one is skipped and its call ends with
    /// [`CallError::Decode`](crate::CallError::Decode).
    pub fn reply_limit(mut self, bytes: usize) -> Self {
        self.settings.options.reply_limit = bytes;
        self
    }

    /// Adds metadata to all calls and notifications: `add` is asked whenever one is created, and hands each name and
    /// value on. Default: none. What a call [adds itself](crate::Call::meta) stands behind it; of two with the same name
    /// [`Context::meta`](crate::Context::meta) tells the first.
    ///
    /// ```
    /// # use rpc_runtime::{Client, Context, rpc};
    /// # #[rpc]
    /// # trait Audit { async fn user(&self, cx: &Context) -> Option<String>; }
    /// # struct Log;
    /// # impl Audit for Log {
    /// #     async fn user(&self, cx: &Context) -> Option<String> { cx.meta("user").map(str::to_owned) }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), rpc_runtime::CallError> {
    /// let client = Client::builder()
    ///     .metadata(|add| add("user", "ada"))
    ///     .local(AuditServer::new(Log)); // or `.connect(address).await?`
    /// assert_eq!(AuditClient::new(client).user().await?.as_deref(), Some("ada"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn metadata<F>(mut self, add: F) -> Self
    where
        F: Fn(&mut dyn FnMut(&str, &str)) + Send + Sync + 'static,
    {
        self.settings.options.meta = Some(ClientMeta(Arc::new(add)));
        self
    }

    /// Whether to connect again when the connection is lost. Default: yes. Without it the first loss is the end: all
    /// calls fail, none is made again, and [`Client::closed`] tells why.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.settings.stays_lost = !reconnect;
        self
    }

    /// How long to wait between attempts to connect again, and between those of a call. The first comes at once; after each failure the client waits
    /// a random time of up to `initial`, which doubles with each further one up to `max`. Default: 50 ms and 5 s.
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.backoff = Backoff { initial, max };
        self
    }

    /// Whether calls wait, within their timeout, while there is no connection. Default: yes. Otherwise they fail as
    /// not sent from the moment that an attempt to connect again has failed until one succeeds.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.settings.options.wait_for_ready = wait;
        self
    }

    /// After how many failures in a row a server that is one among several gets no calls. Default: 5; never: 0.
    ///
    /// Failures are calls that time out or are answered [−32603](crate::code::INTERNAL_ERROR), and connections that are
    /// lost; a handler's own errors are none. When all servers have failed so, they get calls as if none had.
    pub fn eject_after(mut self, failures: u32) -> Self {
        self.settings.ejection.after = failures;
        self
    }

    /// How long to wait before a server that gets no calls is asked whether it can come back, which it does when it
    /// answers `rpc.ping`: a random time of up to `initial`, which doubles up to `max` each time that it does not answer or
    /// fails again soon. Default: 1 s and 30 s.
    pub fn probe_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.ejection.probes = Backoff { initial, max };
        self
    }

    /// Serves the server: its handlers reach this client with [`Context::client`](crate::Context::client), over the same
    /// connection, and over the next one after that is lost. A client without services answers their calls
    /// [−32601](crate::code::METHOD_NOT_FOUND).
    ///
    /// ```
    /// use rpc_runtime::{Client, Context, rpc};
    ///
    /// #[rpc]
    /// trait Oven {
    ///     async fn bake(&self, cx: &Context, minutes: u32) -> String;
    /// }
    ///
    /// /// What the client serves.
    /// #[rpc]
    /// trait Kitchen {
    ///     async fn is_hungry(&self) -> bool;
    /// }
    /// # struct Electric;
    /// # impl Oven for Electric {
    /// #     async fn bake(&self, cx: &Context, minutes: u32) -> String {
    /// #         let kitchen = cx.client::<KitchenClient>();
    /// #         if kitchen.is_hungry().await.unwrap_or(false) { "bread".into() } else { format!("{minutes} saved") }
    /// #     }
    /// # }
    /// # struct Here;
    /// # impl Kitchen for Here { async fn is_hungry(&self) -> bool { true } }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), rpc_runtime::CallError> {
    /// let client = Client::builder()
    ///     .service(KitchenServer::new(Here))
    ///     .local(OvenServer::new(Electric)); // or `.connect(address).await?`
    /// assert_eq!(OvenClient::new(client).bake(40).await?, "bread");
    /// # Ok(())
    /// # }
    /// ```
    pub fn service<S: Service>(self, service: S) -> ClientBuilder<(R, S)> {
        let Self {
            settings,
            limits,
            discovery,
            router,
        } = self;
        ClientBuilder {
            settings,
            limits,
            discovery,
            router: (router, service),
        }
    }

    /// Whether the client answers its server's `rpc.discover` with what it serves. Default: yes.
    pub fn discover(mut self, discover: bool) -> Self {
        self.discovery.is_off = !discover;
        self
    }

    /// Sets what the client takes from its server. Those of connections, handshakes and silence are for
    /// servers alone.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects. A name's several addresses are tried one after the other until one answers. A silent one is given up
    /// after 15 s: only a longer [`connect_timeout`](Self::connect_timeout) gets to those behind it.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one without I/O and timers
    /// ([`enable_all`](tokio::runtime::Builder::enable_all)).
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempt up.
    pub async fn connect<A>(self, address: A) -> Result<Client, ConnectError>
    where
        A: TryInto<Address>,
        ConnectError: From<A::Error>,
        R: Router,
    {
        let Self {
            settings,
            limits,
            discovery,
            router,
        } = self;
        check_names(&R::descriptions())?;
        let (options, reconnects) = (settings.retrying(), !settings.stays_lost);
        let dialer = settings.dialer(address.try_into()?);
        let connection = dialer.dial().await?;
        Ok(Client::over(
            connection,
            options,
            router.into_serve_peer(limits, discovery),
            reconnects.then_some(dialer),
        ))
    }

    /// A client of several servers, all of which serve the same: each call goes to one of them. See
    /// [Several servers](Client#several-servers).
    ///
    /// It is there as soon as one of them is connected. The others are dialled until they are; how they stand,
    /// [`balance`](Self::balance) can tell.
    ///
    /// ```no_run
    /// # use rpc_runtime::{Client, Trust};
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder()
    ///     .trust(Trust::pem_file("authority.pem")?)
    ///     .connect_many(["one.example.org:4433", "two.example.org:4433"])
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Nobody`] when the first attempt has failed with each of them, or there are none; and see
    /// [`ConnectError`].
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    /// Dropping the future gives the attempts up.
    pub async fn connect_many<A>(
        self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Client, ConnectError>
    where
        A: TryInto<Address>,
        ConnectError: From<A::Error>,
        R: Router,
    {
        let addresses: Result<Vec<_>, _> = addresses.into_iter().map(A::try_into).collect();
        let (client, endpoints) = self.balance()?;
        endpoints.set(addresses?);
        client.ready().await.map(|()| client)
    }

    /// A client of several servers that come and go, and the handle to say so with. There are none at first, and
    /// calls wait for one.
    /// [`Client::ready`] waits for one.
    ///
    /// # Errors
    /// [`ConnectError::DuplicateMethod`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn balance(self) -> Result<(Client, Endpoints), ConnectError>
    where
        R: Router,
    {
        check_names(&R::descriptions())?;
        let services = self.router.into_serve_peer(self.limits, self.discovery);
        let client = Client::of_endpoints(self.settings.retrying(), services);
        let endpoints = Endpoints::new(&client.0, self.settings);
        Ok((client, endpoints))
    }

    /// A client of a service in the same process, as [`Client::local`] makes it, with this builder's time limit, lanes,
    /// limits and services: a test has both directions.
    ///
    /// # Panics
    /// Outside a tokio runtime, and if two of the client's services have a method of the same name.
    pub fn local<S: Service>(self, service: S) -> Client
    where
        R: Router,
    {
        let (here, there) = memory::pair();
        let server = ((), service).into_serve_peer(Limits::default(), DiscoverOptions::default());
        tokio::spawn(server.serve(Connection::Memory(there), None));
        self.in_memory(here)
    }

    /// A client of whoever is at the other end.
    pub(crate) fn in_memory(self, connection: memory::Connection) -> Client
    where
        R: Router,
    {
        if let Err(twice) = check_names(&R::descriptions()) {
            panic!("{twice}");
        }
        let services = self.router.into_serve_peer(self.limits, self.discovery);
        let options = self.settings.options;
        Client::over(Connection::Memory(connection), options, services, None)
    }
}

impl Settings {
    pub(super) fn dialer(self, address: Address) -> Dialer {
        Dialer {
            address,
            backoff: self.backoff,
            settings: self,
        }
    }

    /// The options of a client that makes calls again, if it is to.
    fn retrying(&self) -> Options {
        let retry = (!self.stays_lost).then_some(self.backoff);
        Options {
            retry,
            ..self.options.clone()
        }
    }

    pub(super) async fn dial(&self, address: &Address) -> Result<Connection, ConnectError> {
        let limit = self.connect_timeout.unwrap_or(CONNECT);
        let dialed = tokio::time::timeout(limit, self.try_each(address)).await;
        dialed.unwrap_or(Err(ConnectError::Timeout))
    }

    /// Tries the addresses of a name until one answers.
    async fn try_each(&self, address: &Address) -> Result<Connection, ConnectError> {
        let server_name = self.server_name.as_deref().unwrap_or(address.server_name());
        let resolved = tokio::net::lookup_host((address.host(), address.port())).await;
        let mut failure = None;
        for candidate in resolved.map_err(ConnectError::Resolve)? {
            let (tls, verdict) = client_config(self.trust.clone(), self.identity.clone())?;
            match quic::connect(candidate, server_name, tls, &verdict).await {
                Ok(connection) => return Ok(Connection::Quic(connection)),
                Err(error) => failure = Some(ConnectError::new(error, &verdict)),
            }
        }
        Err(failure.unwrap_or(ConnectError::Resolve(std::io::ErrorKind::NotFound.into())))
    }
}

/// Why there is no connection.
///
/// ```
/// use rpc_runtime::{Client, ConnectError};
///
/// fn may_pass(error: &ConnectError) -> bool {
///     use ConnectError::{Refused, Resolve, Socket, Timeout};
///     matches!(error, Resolve(_) | Timeout | Refused(_) | Socket(_))
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// let error = Client::builder().connect("example.org").await.unwrap_err();
/// assert!(matches!(error, ConnectError::Address(_)), "it has no port");
/// assert!(!may_pass(&error));
/// # }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The host has no address.
    #[error("cannot find the host")]
    Resolve(#[source] std::io::Error),
    /// What is to be trusted cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The server is not the one that is trusted, or not the one that was dialled.
    #[error(transparent)]
    Untrusted(#[from] UntrustedReason),
    /// The server asks its clients for a certificate; set [`ClientBuilder::identity`].
    #[error("the server asks for a certificate, and this client has none: give it an `identity`")]
    CertificateRequired,
    /// The server does not accept this client's certificate.
    #[error("the server does not accept this client's certificate: {}", meaning(*alert))]
    CertificateRefused {
        /// Why, as a number of TLS's alerts ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
        alert: u8,
    },
    /// The host is no name that a certificate could have; set [`ClientBuilder::server_name`].
    #[error("the host is not a name that a certificate could have")]
    ServerName,
    /// The server speaks another protocol than `jsonrpc/1`.
    #[error("the server does not speak `jsonrpc/1`")]
    Protocol,
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    Timeout,
    /// The server did not take the connection.
    #[error("the connection was not made: {0}")]
    Refused(ConnectionLost),
    /// None of several servers can be reached. This is what became of the last attempt with one of them.
    #[error("no server can be reached")]
    Nobody(#[source] Arc<ConnectError>),
    /// There is no socket to connect from.
    #[error("cannot open a socket")]
    Socket(#[source] std::io::Error),
    /// Two services of the client have a method of the same name; give one of them a `namespace`.
    #[error("{}", DuplicateMethod { method, services: *services })]
    DuplicateMethod {
        /// The name on the wire.
        method: &'static str,
        /// The traits.
        services: [&'static str; 2],
    },
}

impl ConnectError {
    fn new(error: HandshakeError, verdict: &Verdict) -> Self {
        if let Some(reason) = verdict.take() {
            return Self::Untrusted(reason);
        }
        match error {
            HandshakeError::Socket(error) => Self::Socket(error),
            HandshakeError::Name => Self::ServerName,
            HandshakeError::Alpn => Self::Protocol,
            HandshakeError::CertificateRequired => Self::CertificateRequired,
            HandshakeError::CertificateRefused(alert) => Self::CertificateRefused { alert },
            HandshakeError::Lost(ConnectionLost::TimedOut) => Self::Timeout,
            HandshakeError::Lost(lost) => Self::Refused(lost),
        }
    }
}

/// What an alert means to whom it is sent for a certificate.
fn meaning(alert: u8) -> &'static str {
    match alert {
        43 => "it is not made for client authentication",
        44 => "it has been revoked",
        45 => "it has expired or is not valid yet",
        48 => "nobody whom the server trusts has signed it",
        49 => "it is none of those that the server knows",
        51 => "its signature is wrong or of a kind that the server does not take",
        _ => "something is wrong with it",
    }
}

impl From<DuplicateMethod> for ConnectError {
    fn from(DuplicateMethod { method, services }: DuplicateMethod) -> Self {
        Self::DuplicateMethod { method, services }
    }
}

impl From<Infallible> for ConnectError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
