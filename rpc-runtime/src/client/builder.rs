//! `ClientBuilder`: the settings of a client, and the ways to connect it.

use std::sync::Arc;
use std::time::Duration;

use crate::client::address::Address;
#[cfg(feature = "http2")]
use crate::client::address::AddressError;
use crate::client::balance::endpoints::{EndpointSettings, Endpoints};
use crate::client::balance::outlier::Ejection;
use crate::client::callback::{IntoServePeer, ServePeer, serve_peers};
use crate::client::connector::Connector;
use crate::client::dial::{ConnectError, DialSettings};
use crate::client::handle::{self, Client};
#[cfg(feature = "testing")]
use crate::client::linked::LinkedService;
use crate::client::middleware::chain::{ClientMiddleware, Middlewares};
use crate::client::options::{ClientOptions, MetadataSource};
use crate::client::retry::backoff::Backoff;
use crate::description::discover::DiscoverOptions;
use crate::description::names::{DuplicateMethod, check_names};
use crate::event::{Event, EventHook};
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::service::Service;
use crate::service::router::{Router, Services, Single};
use crate::tls::{Identity, Trust};
#[cfg(feature = "testing")]
use crate::transport::link::Link;
use crate::transport::quic::{ClientSocket, ConnectAttempt};
use crate::transport::settings::TransportSettings;
use crate::transport::{Connection, memory};

/// Builds a [`Client`]. [`Client::builder`] returns a builder with default settings.
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
/// The type of the builder changes with each service that is added, as the type of a [`ServerBuilder`](crate::ServerBuilder)
/// does.
#[derive(Debug, Clone, Default)]
pub struct ClientBuilder<R = ()> {
    settings: ClientSettings,
    limits: Limits,
    discovery: DiscoverOptions,
    router: R,
}

/// Settings of a client, except its limits and its services.
#[derive(Debug, Clone, Default)]
struct ClientSettings {
    dial: DialSettings,
    ejection: Ejection,
    options: ClientOptions,
    /// `true` if the client does not reconnect.
    stays_lost: bool,
}

/// The parts of which a client is made.
struct Parts {
    options: ClientOptions,
    services: handle::Services,
    dial: DialSettings,
    ejection: Ejection,
    reconnects: bool,
}

impl ClientSettings {
    /// Returns the call options of the client. Calls are retried only if the client reconnects.
    fn reconnecting(&self) -> ClientOptions {
        ClientOptions {
            retry: (!self.stays_lost).then_some(self.dial.backoff),
            ..self.options.clone()
        }
    }
}

impl Client {
    /// Returns a builder with default settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Creates a client of a service in the same process, for tests of services.
    ///
    /// Calls pass through the same codec and dispatch as over a network, without a socket. There is no server to reconnect
    /// to. [`ClientBuilder::local`] also serves the calls that the service makes to the client.
    ///
    /// # Panics
    /// Panics outside a tokio runtime. In a runtime without timers ([`enable_time`](tokio::runtime::Builder::enable_time))
    /// the service's task panics, and calls end with [`CallError::Connection`](crate::CallError::Connection).
    pub fn local<S: Service>(service: S) -> Self {
        Self::builder().local(service)
    }
}

#[allow(private_bounds)] // the type of the list of services is private
impl<R> ClientBuilder<R> {
    /// Sets which server certificates are trusted. Defaults to those issued by the authorities that the operating system
    /// trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.settings.dial.trust = trust.into();
        self
    }

    /// Sets the certificate that the client presents to a server that requires one. Defaults to none.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.settings.dial.identity = Some(identity);
        self
    }

    /// Uses a configuration of rustls instead of [`trust`](Self::trust) and [`identity`](Self::identity), for what they cannot
    /// express: hardware keys, revocation lists or another cryptographic provider. It needs the feature `rustls-config`.
    ///
    /// The client sets the ALPN protocol, and disables early data. A certificate of the server that the configuration rejects
    /// is [`ConnectError::Refused`] with the TLS alert. If the server requires a certificate and rejects the client's, the
    /// client notices it after it has connected.
    ///
    /// The versions of rustls that this crate and the application use must be the same, 0.23. A configuration that does not
    /// verify certificates makes every connection insecure.
    ///
    /// # Errors
    /// Connecting returns [`TlsError::CipherSuites`](crate::tls::TlsError::CipherSuites) if the configuration cannot be used
    /// for QUIC.
    #[cfg(feature = "rustls-config")]
    pub fn rustls_config(mut self, config: rustls::ClientConfig) -> Self {
        self.settings.dial.trust = config.into();
        self
    }

    /// Sets the name that the server's certificate must have. Defaults to the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.settings.dial.server_name = Some(name.into());
        self
    }

    /// Sets the time limit for resolving the name and for the handshake. Defaults to 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.dial.connect_timeout = Some(timeout);
        self
    }

    /// Connects over HTTP/2, to this `https://` URL, in networks in which QUIC does not work. Needs the feature `http2`.
    ///
    /// About one network in twenty-five drops UDP, or passes only its first packets. The client tries QUIC first. After
    /// 300 ms without an answer to a call of `rpc.ping` it also connects over HTTP/2, and uses the first connection that
    /// answers. Connecting over QUIC takes one round trip more than without this setting. A connection over QUIC from which
    /// nothing arrives for about 1.5 s in its first 30 s, while calls are in flight, is replaced by one over HTTP/2: its calls
    /// in flight end as if the connection were lost.
    ///
    /// While the client uses HTTP/2 it tries QUIC again, after a pause of up to 10 s, which doubles up to 10 minutes
    /// ([`quic_retry_backoff`](Self::quic_retry_backoff)). Once QUIC has answered five calls of `rpc.ping`, new calls use it,
    /// and the calls in flight end over HTTP/2. [`Client::transport`] and the event
    /// [`Connected`](Event::Connected) tell which transport is in use.
    ///
    /// The trust, the certificate and the [server name](Self::server_name) of the client are those for QUIC. Each of several
    /// servers ([`connect_many`](Self::connect_many)) has this fallback. A client whose address is a URL of HTTP needs none.
    ///
    /// ```no_run
    /// use rpc_runtime::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder()
    ///     .fallback("https://rpc.example.org/rpc")
    ///     .connect("rpc.example.org:4433")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Connecting returns [`ConnectError::Address`] if the address is no `https://` or `http://` URL.
    #[cfg(feature = "http2")]
    pub fn fallback<A>(mut self, address: A) -> Self
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        let address = address.try_into().map_err(AddressError::from);
        self.settings.dial.fallback = Some(address.and_then(Address::into_http));
        self
    }

    /// Sets the pauses after which a client with a [`fallback`](Self::fallback) tries QUIC again. Defaults to 10 s and 10
    /// minutes. Needs the feature `http2`.
    ///
    /// The client waits for a random time between half of `initial` and `initial`, which doubles with each further failure up
    /// to `max`.
    #[cfg(feature = "http2")]
    pub fn quic_retry_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.dial.quic_retry = Some(Backoff { initial, max });
        self
    }

    /// Sets the time limit of calls, batches and notifications that have no time limit of their own. Defaults to none.
    ///
    /// The time limit of a stream of items covers all items. [`Streaming::no_timeout`](crate::Streaming::no_timeout) removes it
    /// from a stream that has no end, and [`Call::no_timeout`](crate::Call::no_timeout) from a call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.options.timeout = Some(timeout);
        self
    }

    /// Sets the number of streams that small calls share, 1 to 32. Defaults to 1, so that as many calls as possible share a
    /// packet. A value outside the range is replaced by the nearest one.
    ///
    /// On a network that loses packets, a lost packet delays only the calls of its streams.
    pub fn streams(mut self, streams: usize) -> Self {
        self.settings.options.streams = streams;
        self
    }

    /// Sets the number of dedicated streams that the client has open at a time on a connection. Defaults to 100; at least 1. A
    /// value outside the range is replaced by the nearest one.
    ///
    /// A call has a dedicated stream if it has items, is large, or asks for it
    /// ([`Call::dedicated_stream`](crate::Call::dedicated_stream)). Further calls wait, within their timeouts, until a stream
    /// ends. The server also has a limit, 128 by default ([`TransportSettings::max_streams`]). Leave room for the
    /// [`streams`](Self::streams) that small calls share, and for an eighth of the limit, by which the server raises it when
    /// streams end. A stream of items also counts as a call in flight
    /// ([`Limits::max_concurrent_calls_per_connection`]).
    pub fn max_dedicated_streams(mut self, streams: usize) -> Self {
        self.settings.options.max_dedicated_streams = streams;
        self
    }

    /// Sets the settings of QUIC and of the sockets: idle timeout, keep-alive, sizes of packets, congestion control and
    /// windows.
    pub fn transport(mut self, settings: TransportSettings) -> Self {
        self.settings.dial.transport.settings = settings;
        self
    }

    /// Uses a socket that several clients share. Defaults to a socket for each connection.
    ///
    /// The client cannot [`rebind`](Client::rebind); [`ClientSocket::rebind`] moves all clients of the socket.
    pub fn socket(mut self, socket: &ClientSocket) -> Self {
        self.settings.dial.transport.socket = Some(socket.clone());
        self
    }

    /// Sets the maximum size of a reply, in bytes. Default: 4 MiB. The client skips a larger reply, or stops its stream if
    /// that is a dedicated stream. The call ends with [`CallError::Decode`](crate::CallError::Decode).
    ///
    /// A reply also has to fit into [`Limits::max_memory_bytes_per_connection`], which [`limits`](Self::limits) sets: 32 MiB
    /// by default. Set that limit to at least twice the size of the largest reply.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.settings.options.reply_limit = bytes;
        self
    }

    /// Adds metadata to all calls and notifications. Defaults to none.
    ///
    /// The client calls `add` whenever a call or notification is created. `add` calls its argument with each name and value.
    /// A value that a call [adds itself](crate::Call::meta) replaces a value of the same name. A
    /// [`middleware`](Self::middleware) can wait for a value, such as a new token.
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
        self.settings.options.metadata = Some(MetadataSource(Arc::new(add)));
        self
    }

    /// Passes each [`Event`] of the client to a function: of its connections and retries, and of its own services. A function
    /// that was set before is kept and called first.
    ///
    /// The function is called in the task of the client that the event concerns, so it must not block. A client in the
    /// same process ([`local`](Self::local)) has no events of connections.
    pub fn on_event<F>(mut self, on_event: F) -> Self
    where
        F: Fn(&Event<'_>) + Send + Sync + 'static,
    {
        self.settings.options.events.add(on_event);
        self
    }

    /// Adds a [middleware](crate::middleware::ClientMiddleware) around all calls of the client. Defaults to none.
    ///
    /// The middleware that is added first is the outermost: it sees a call first, and its response last.
    /// [`Client::with_middleware`] adds middleware for some of the calls on a connection.
    pub fn middleware<M: ClientMiddleware>(mut self, middleware: M) -> Self {
        Middlewares::add(&mut self.settings.options.middleware, Arc::new(middleware));
        self
    }

    /// Sets whether the client reconnects when the connection is lost. Defaults to `true`.
    ///
    /// With `false` the first loss closes the client: all calls fail, no call is retried, and [`Client::closed`] returns the
    /// reason.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.settings.stays_lost = !reconnect;
        self
    }

    /// Sets the delays between attempts to reconnect, and between the attempts of a call. Defaults to 50 ms and 5 s.
    ///
    /// The first attempt is made at once. After each failure the client waits for a random time of up to `initial`, which
    /// doubles with each further failure up to `max`. For 10 s after a connection that lasted longer than `max` was lost, it
    /// doubles only up to 0.5 s.
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.dial.backoff = Backoff { initial, max };
        self
    }

    /// Sets whether calls wait, within their timeout, while there is no connection. Defaults to `true`.
    ///
    /// A call that has no timeout waits until there is a connection, or until the client is closed. A call whose timeout ends
    /// before that was not sent, and returns [`CallError::Connection`](crate::CallError::Connection) with the reason why the
    /// last attempt to connect failed ([`ConnectionError::NotConnected`](crate::ConnectionError::NotConnected)).
    ///
    /// With `false` calls fail with [`Execution::NotSent`](crate::Execution::NotSent) from the time when an attempt to
    /// reconnect has failed until an attempt succeeds.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.settings.options.wait_for_ready = wait;
        self
    }

    /// Sets the number of consecutive failures after which one of several servers is ejected: it gets no more calls.
    /// Defaults to 5; 0 disables ejection.
    ///
    /// Calls that time out, calls that are answered with [−32603](crate::code::INTERNAL_ERROR), and lost connections count
    /// as failures. A handler's own errors do not. The client calls `rpc.ping` of an ejected server until it answers, also
    /// while the program makes no calls. The time before each of these calls is random, up to 1 s at first, and doubles up to
    /// 30 s. When all servers are ejected, they get calls as if none were.
    pub fn eject_after(mut self, failures: u32) -> Self {
        self.settings.ejection.after = failures;
        self
    }

    /// Sets the delays before an ejected server is probed with `rpc.ping`. Defaults to 1 s and 30 s.
    ///
    /// The client waits for a random time of up to `initial`, which doubles up to `max` each time that the server does not
    /// answer or soon fails again. A server that answers gets calls again.
    pub fn probe_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.ejection.probes = Backoff { initial, max };
        self
    }

    /// Adds a service that the client serves to its server.
    ///
    /// The server's handlers call it with [`Context::client`](crate::Context::client), over the same connection, and after a
    /// reconnect over the next connection. A client without services answers such calls with
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
    /// /// The service of the client.
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
    pub fn service<S: Service>(self, service: S) -> ClientBuilder<R::With<Single<S>>>
    where
        R: Services,
    {
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
            router: router.with(Single(service)),
        }
    }

    /// Sets whether the client answers `rpc.discover` with the description of its services. Defaults to `true`.
    pub fn discover(mut self, discover: bool) -> Self {
        self.discovery.is_off = !discover;
        self
    }

    /// Sets the limits for the calls and the data that the server sends.
    ///
    /// Most of the limits apply to the calls that the server makes. The limits of connections and handshakes concern only
    /// servers.
    ///
    /// [`Limits::max_memory_bytes_per_connection`] and [`Limits::max_memory_bytes`] also limit the memory for the replies
    /// and items of the client's own calls. They count the parts that have been received, and the replies and items that
    /// their callers have not taken. [`Client::memory_held`] returns the memory in use.
    ///
    /// The client stops reading from a connection that has reached its limit. A reply or an item of more than 16 KiB for
    /// which there is no room within one to two seconds is discarded, the largest first. Its call ends with
    /// [`CallError::Decode`](crate::CallError::Decode), which names the limit. If the server continues after eight
    /// discarded replies, the client closes the connection with code 0x13. One large reply at a time is decoded even if its
    /// values take more.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects to a server.
    ///
    /// The addresses of a name are tried 250 ms apart, IPv6 and IPv4 in turn, and at once when an attempt fails. The first
    /// connection whose handshake is complete is used, and the other attempts are cancelled
    /// ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305)). The client reconnects in the same way. If all attempts fail,
    /// the error is that of a server that answered, if one did.
    ///
    /// # Errors
    /// Returns a [`ConnectError`] if the address or the settings are invalid, or if no connection can be made.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and in a runtime without I/O and timers
    /// ([`enable_all`](tokio::runtime::Builder::enable_all)).
    ///
    /// # Cancel safety
    /// Dropping the future cancels the attempt.
    pub async fn connect<A>(self, address: A) -> Result<Client, ConnectError>
    where
        A: TryInto<Address>,
        ConnectError: From<A::Error>,
        R: Router,
    {
        let Parts {
            options,
            services,
            dial: settings,
            reconnects,
            ..
        } = self.parts()?;
        let address = address.try_into()?;
        settings.check()?;
        let connector = Connector::new(settings, address);
        let connection = connector.connect(&ConnectAttempt::default()).await?;
        connector.report_connected(&options.events, &connection);
        let connector = Some(connector).filter(|_| reconnects);
        Ok(Client::over(connection, options, services, connector))
    }

    /// Creates a client that connects to a server when it makes its first call, or with [`Client::ready`].
    ///
    /// So a program starts while its server is down. The first call waits until the client is connected, as calls wait
    /// while a client reconnects: within its timeout, or until the first attempt has failed if the client does not
    /// [`wait_for_ready`](Self::wait_for_ready). The client keeps trying, as it does when a connection is lost. From then on
    /// it is as a client that [`connect`](Self::connect) has returned. [`reconnect(false)`](Self::reconnect) has an effect
    /// once the client has been connected.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use rpc_runtime::{Client, Identity, Server, Trust, rpc};
    /// use rpc_runtime::ConnectionState;
    ///
    /// # #[rpc]
    /// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
    /// # struct Desk;
    /// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let identity = Identity::self_signed(["127.0.0.1"])?;
    /// # let trust = Trust::certificate(identity.certificate());
    /// # let server = Server::builder(identity).service(CalculatorServer::new(Desk)).bind("127.0.0.1:0")?;
    /// # let address = server.local_addr()?;
    /// let client = Client::builder().trust(trust).timeout(Duration::from_secs(20)).connect_lazy(address)?;
    /// assert!(matches!(client.state(), ConnectionState::Idle));
    /// let calculator = CalculatorClient::new(client);
    ///
    /// tokio::spawn(server.run()); // usually in another process
    /// assert_eq!(calculator.add(1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns [`ConnectError::Address`] if the address cannot be parsed, [`ConnectError::Transport`] if a setting is outside
    /// its range, and [`ConnectError::DuplicateMethod`] if two of the client's services have a method of the same name.
    /// [`Client::state`] returns the error of the last attempt to connect.
    ///
    /// # Panics
    /// Panics outside a tokio runtime. In a runtime without I/O and timers
    /// ([`enable_all`](tokio::runtime::Builder::enable_all)), the task that connects panics.
    pub fn connect_lazy<A>(self, address: A) -> Result<Client, ConnectError>
    where
        A: TryInto<Address>,
        ConnectError: From<A::Error>,
        R: Router,
    {
        let address = address.try_into()?;
        self.settings.dial.check()?;
        let connector = |settings| Connector::new(settings, address);
        Ok(self.lazy(connector)?)
    }

    /// Creates a client that connects when it makes its first call.
    pub(super) fn lazy(
        self,
        connector: impl FnOnce(DialSettings) -> Connector,
    ) -> Result<Client, DuplicateMethod>
    where
        R: Router,
    {
        let Parts {
            options,
            services,
            dial,
            reconnects,
            ..
        } = self.parts()?;
        Ok(Client::lazy(options, services, connector(dial), reconnects))
    }

    fn parts(self) -> Result<Parts, DuplicateMethod>
    where
        R: Router,
    {
        check_names(&R::descriptions())?;
        let options = ClientOptions {
            memory: ServerMemory::new(&self.limits),
            ..self.settings.reconnecting()
        };
        let events = options.events.clone();
        let served = self
            .router
            .into_serve_peer(self.limits, self.discovery, events);
        Ok(Parts {
            services: serve_peers(served),
            options,
            reconnects: !self.settings.stays_lost,
            dial: self.settings.dial,
            ejection: self.settings.ejection,
        })
    }

    /// Connects to several servers that offer the same services.
    ///
    /// Each call goes to one of the servers: see [Several servers](Client#several-servers).
    ///
    /// Returns as soon as one server is connected. The client keeps connecting to the other servers in the background.
    /// [`balanced`](Self::balanced) also returns a handle with the states of the servers.
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
    /// Returns [`ConnectError::AllUnreachable`] when the first attempt has failed for each server, or if `addresses` is
    /// empty. For other errors see [`ConnectError`].
    ///
    /// # Panics
    /// Panics as [`connect`](Self::connect) does.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the attempts.
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
        let (client, endpoints) = self.balanced()?;
        endpoints.set(addresses?);
        client.ready().await.map(|()| client)
    }

    /// Creates a client of several servers that may change, and the handle that adds and removes servers.
    ///
    /// The client has no servers at first. Calls wait for a server, as [`Client::ready`] does.
    ///
    /// # Errors
    /// Returns [`ConnectError::DuplicateMethod`] if two of the client's services have a method of the same name, and
    /// [`ConnectError::Transport`] if a setting is outside its range.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn balanced(self) -> Result<(Client, Endpoints), ConnectError>
    where
        R: Router,
    {
        let Parts {
            options,
            services,
            dial,
            ejection,
            ..
        } = self.parts()?;
        dial.check()?;
        let client = Client::of_endpoints(options, services);
        let endpoints = Endpoints::new(&client.inner, EndpointSettings { dial, ejection });
        Ok((client, endpoints))
    }

    /// Creates a client of a service in the same process, as [`Client::local`] does, with the settings of this builder.
    ///
    /// The time limit, the streams, the limits and the services of the builder apply, so a test covers both directions.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and if two of the client's services have a method of the same name.
    pub fn local<S: Service>(self, service: S) -> Client
    where
        R: Router,
    {
        let (here, there) = memory::pair();
        let server = serve_locally(service);
        tokio::spawn(server.serve(Connection::Memory(there), None));
        self.in_memory(here)
    }

    /// Creates a client of a service in the same process, with a network in between that injects faults. The client connects
    /// when it makes its first call, and reconnects as over a network. The settings of this builder apply, except those of TLS
    /// and of QUIC: [`trust`](Self::trust), [`identity`](Self::identity), [`transport`](Self::transport) and
    /// [`socket`](Self::socket) have no effect.
    ///
    /// Needs the feature `testing`. [`Link`] has an example.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and if two of the client's services have a method of the same name.
    #[cfg(feature = "testing")]
    pub fn local_through<S: Service>(self, link: &Link, service: S) -> Client
    where
        R: Router,
    {
        let link = link.clone();
        let server = serve_locally(service);
        let connector = |settings| {
            Connector::Linked(Box::new(LinkedService {
                settings,
                link,
                server,
            }))
        };
        self.lazy(connector)
            .unwrap_or_else(|twice| panic!("{twice}"))
    }

    /// Returns the settings for connecting.
    #[cfg(feature = "server")]
    pub(super) fn dial_settings(&self) -> &DialSettings {
        &self.settings.dial
    }

    /// Creates a client on a connection in memory.
    pub(crate) fn in_memory(self, connection: memory::Connection) -> Client
    where
        R: Router,
    {
        let parts = self.parts().unwrap_or_else(|twice| panic!("{twice}"));
        let options = ClientOptions {
            retry: None,
            ..parts.options
        };
        let connection = Connection::Memory(connection);
        Client::over(connection, options, parts.services, None)
    }
}

/// Serves a service to clients of the same process, with default limits and without events.
fn serve_locally<S: Service>(service: S) -> Arc<dyn ServePeer> {
    Single(service).into_serve_peer(
        Limits::default(),
        DiscoverOptions::default(),
        EventHook::default(),
    )
}
