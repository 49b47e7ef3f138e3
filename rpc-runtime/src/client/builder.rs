//! Builds a client.

use std::sync::Arc;
use std::time::Duration;

use crate::client::address::Address;
use crate::client::balance::endpoints::{EndpointSettings, Endpoints};
use crate::client::balance::outlier::Ejection;
use crate::client::callback::{IntoServePeer, serve_peers};
use crate::client::dial::{ConnectError, DialSettings, Dialer};
use crate::client::handle::Client;
use crate::client::options::{ClientOptions, MetadataSource};
use crate::client::retry::backoff::Backoff;
use crate::description::discover::DiscoverOptions;
use crate::description::names::check_names;
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::service::Service;
use crate::service::router::{Router, Services, Single};
use crate::tls::{Identity, Trust};
use crate::transport::{Connection, memory};

/// Builds a [`Client`]. [`Client::builder`] starts one.
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
    settings: ClientSettings,
    limits: Limits,
    discovery: DiscoverOptions,
    router: R,
}

/// Settings of a client, apart from what it serves.
#[derive(Debug, Clone, Default)]
struct ClientSettings {
    dial: DialSettings,
    ejection: Ejection,
    options: ClientOptions,
    /// The client does not connect again.
    stays_lost: bool,
}

impl ClientSettings {
    /// Returns the options of a client that connects again, if it is to.
    fn reconnecting(&self) -> ClientOptions {
        ClientOptions {
            retry: (!self.stays_lost).then_some(self.dial.backoff),
            ..self.options.clone()
        }
    }
}

impl Client {
    /// Starts building a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Makes a client of a service in the same process: the same codec and dispatch without a socket, for tests of services.
    /// There is nothing to connect to again. [`ClientBuilder::local`] makes one that serves its server.
    ///
    /// # Panics
    /// Outside a tokio runtime. It needs timers: in a runtime without them
    /// ([`enable_time`](tokio::runtime::Builder::enable_time)) the service's task panics and calls end with
    /// [`CallError::Connection`](crate::CallError::Connection).
    pub fn local<S: Service>(service: S) -> Self {
        Self::builder().local(service)
    }
}

#[allow(private_bounds)] // the type of the list of services is private
impl<R> ClientBuilder<R> {
    /// Sets which server certificates are trusted. Default: those of the authorities that the operating system trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.settings.dial.trust = trust;
        self
    }

    /// Sets the certificate to show to a server that asks for one. Default: none.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.settings.dial.identity = Some(identity);
        self
    }

    /// Sets the name that the server's certificate must have, when it is not the host that is dialled.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.settings.dial.server_name = Some(name.into());
        self
    }

    /// Sets how long resolving the name and the handshake may take. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.dial.connect_timeout = Some(timeout);
        self
    }

    /// Sets the time limit of calls, batches and notifications that have none of their own. That of a stream of items covers
    /// all items. Default: none.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.options.timeout = Some(timeout);
        self
    }

    /// Sets how many streams small calls share, 1 to 32. Default: 1, so that as many calls as possible share a packet. On a
    /// network that loses packets, a lost packet holds up only the calls of its streams.
    pub fn streams(mut self, streams: usize) -> Self {
        self.settings.options.streams = streams;
        self
    }

    /// Sets the maximum size of a reply, in bytes. Default: 4 MiB. A larger one is skipped, or its stream stopped if that is a
    /// dedicated one, and its call ends with [`CallError::Decode`](crate::CallError::Decode).
    ///
    /// A reply also has to fit into [`Limits::max_memory_bytes_per_connection`], which [`limits`](Self::limits) sets: 32 MiB by
    /// default. Set that to twice the size of the largest reply or more.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.settings.options.reply_limit = bytes;
        self
    }

    /// Adds metadata to all calls and notifications: `add` is called whenever one is created, and calls its argument with each
    /// name and value. Default: none. A value that a call [adds itself](crate::Call::meta) replaces one of the same name.
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

    /// Sets whether to connect again when the connection is lost. Default: yes. Otherwise the first loss closes the client: all
    /// calls fail, none is sent again, and [`Client::closed`] returns why.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.settings.stays_lost = !reconnect;
        self
    }

    /// Sets how long to wait between attempts to connect again, and between those of a call. The first comes at once; after each
    /// failure the client waits a random time of up to `initial`, which doubles with each further one up to `max`. Default: 50 ms
    /// and 5 s.
    pub fn reconnect_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.dial.backoff = Backoff { initial, max };
        self
    }

    /// Sets whether calls wait, within their timeout, while there is no connection. Default: yes. Otherwise they fail as not
    /// sent, from when an attempt to connect again has failed until one succeeds.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.settings.options.wait_for_ready = wait;
        self
    }

    /// Sets after how many failures in a row one of several servers gets no more calls. Default: 5; never: 0.
    ///
    /// Failures are calls that time out or are answered [−32603](crate::code::INTERNAL_ERROR), and lost connections, but not a
    /// handler's own errors. When all servers have failed so often, they get calls as if none had.
    pub fn eject_after(mut self, failures: u32) -> Self {
        self.settings.ejection.after = failures;
        self
    }

    /// Sets how long to wait before a server that gets no calls is probed with `rpc.ping`: a random time of up to `initial`,
    /// which doubles up to `max` each time that it does not answer or fails again soon. A server that answers gets calls again.
    /// Default: 1 s and 30 s.
    pub fn probe_backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.settings.ejection.probes = Backoff { initial, max };
        self
    }

    /// Adds a service for the server: its handlers call this client with [`Context::client`](crate::Context::client), over the
    /// same connection, and over the next one when that is lost. A client without services answers such calls
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

    /// Sets whether the client answers its server's `rpc.discover` with what it serves. Default: yes.
    pub fn discover(mut self, discover: bool) -> Self {
        self.discovery.is_off = !discover;
        self
    }

    /// Sets the limits for what the server sends. Most of them are for the calls that it makes; those of connections, handshakes
    /// and idle time concern only servers.
    ///
    /// [`Limits::max_memory_bytes_per_connection`] and [`Limits::max_memory_bytes`] also limit what the client holds of the replies and items of
    /// its own calls: what has been received of them, and what their callers have not taken. A connection at that limit is not
    /// read further. A reply or an item of more than 16 KiB for which there is no room within one to two seconds, the largest
    /// first, is discarded, and its call ends with [`CallError::Decode`](crate::CallError::Decode), which names the limit. A
    /// server that goes on after eight of these is disconnected with code 0x13. One large reply at a time is decoded even if
    /// its values take more. [`Client::memory_held`] returns what is held.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects. The addresses of a name are tried one after the other until one answers. An address without an answer is
    /// tried for 15 s: only a longer [`connect_timeout`](Self::connect_timeout) reaches those behind it.
    ///
    /// # Errors
    /// See [`ConnectError`].
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one without I/O and timers
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
        let Self {
            settings,
            limits,
            discovery,
            router,
        } = self;
        check_names(&R::descriptions())?;
        let options = ClientOptions {
            memory: ServerMemory::new(&limits),
            ..settings.reconnecting()
        };
        let dialer = Dialer {
            settings: settings.dial,
            address: address.try_into()?,
        };
        let connection = dialer.dial().await?;
        let services = serve_peers(router.into_serve_peer(limits, discovery));
        let dialer = Some(dialer).filter(|_| !settings.stays_lost);
        Ok(Client::over(connection, options, services, dialer))
    }

    /// Makes a client of several servers, all of which serve the same: each call goes to one of them. See
    /// [Several servers](Client#several-servers).
    ///
    /// Returns as soon as one of them is connected. The others are dialled until they are. [`balanced`](Self::balanced) makes a
    /// client that also returns their states.
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

    /// Makes a client of several servers that come and go, and the handle to add and remove them. There are none at first,
    /// and calls wait for one, as [`Client::ready`] does.
    ///
    /// # Errors
    /// [`ConnectError::DuplicateMethod`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn balanced(self) -> Result<(Client, Endpoints), ConnectError>
    where
        R: Router,
    {
        check_names(&R::descriptions())?;
        let options = ClientOptions {
            memory: ServerMemory::new(&self.limits),
            ..self.settings.reconnecting()
        };
        let services = serve_peers(self.router.into_serve_peer(self.limits, self.discovery));
        let client = Client::of_endpoints(options, services);
        let ClientSettings { dial, ejection, .. } = self.settings;
        let endpoints = Endpoints::new(&client.0, EndpointSettings { dial, ejection });
        Ok((client, endpoints))
    }

    /// Makes a client of a service in the same process, as [`Client::local`] does, with this builder's time limit, streams,
    /// limits and services: a test has both directions.
    ///
    /// # Panics
    /// Outside a tokio runtime, and if two of the client's services have a method of the same name.
    pub fn local<S: Service>(self, service: S) -> Client
    where
        R: Router,
    {
        let (here, there) = memory::pair();
        let server = Single(service).into_serve_peer(Limits::default(), DiscoverOptions::default());
        tokio::spawn(server.serve(Connection::Memory(there), None));
        self.in_memory(here)
    }

    /// Makes a client on a connection in memory.
    pub(crate) fn in_memory(self, connection: memory::Connection) -> Client
    where
        R: Router,
    {
        if let Err(twice) = check_names(&R::descriptions()) {
            panic!("{twice}");
        }
        let options = ClientOptions {
            memory: ServerMemory::new(&self.limits),
            ..self.settings.options
        };
        let services = serve_peers(self.router.into_serve_peer(self.limits, self.discovery));
        Client::over(Connection::Memory(connection), options, services, None)
    }
}
