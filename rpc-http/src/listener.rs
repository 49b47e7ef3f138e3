//! `HttpServer`: a TCP listener that answers HTTP requests.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rpc_runtime::Escaped;
use rpc_runtime::gateway::{ConnectionTicket, GatewayPeer, TlsOverTcp};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::service::HttpService;
use crate::session::{Arrival, HttpConnection, TcpTicket};
use crate::timed_io::TimedIo;

/// The pause after an error of the listener, since some errors last, such as a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The default of [`HttpServer::idle_timeout`].
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The maximum size of the headers of a request over HTTP/2, in bytes.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The maximum size of unsent responses that a connection over HTTP/1.1 buffers, and of a stream over HTTP/2, in bytes.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// The windows of HTTP/2, in bytes. Requests that are not read, such as those with items for handlers that wait, leave room for
/// the other requests of the connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Builds an [`HttpListener`]: a server on a TCP socket that answers HTTP/1.1 and HTTP/2.
///
/// ```
/// use rpc_http::{HttpServer, HttpService};
/// use rpc_runtime::{Identity, Server, rpc};
///
/// #[rpc]
/// trait Calculator {
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
///
/// struct Desk;
///
/// impl Calculator for Desk {
///     async fn add(&self, a: i64, b: i64) -> i64 {
///         a + b
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::self_signed(["localhost"])?)
///     .service(CalculatorServer::new(Desk))
///     .bind("127.0.0.1:0")?;
/// let service = HttpService::new(server.services()).path("/rpc").allow_hosts(["api.example.org"]);
/// let https = HttpServer::new(service).tls().bind("127.0.0.1:0").await?;
/// println!("https://{}/rpc", https.local_addr()?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpServer {
    service: HttpService,
    is_tls: bool,
    idle_timeout: Duration,
}

impl HttpServer {
    /// Creates a server for a service, or for the services of a [`Server`](rpc_runtime::Server::services).
    pub fn new(service: impl Into<HttpService>) -> Self {
        Self {
            service: service.into(),
            is_tls: false,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// Serves over TLS 1.3, with the identity of the server and its policy for certificates of clients. The client chooses
    /// HTTP/2 or HTTP/1.1 in the handshake (ALPN, RFC 7301). Defaults to plaintext.
    ///
    /// A new identity ([`ServerHandle::set_identity`](rpc_runtime::ServerHandle::set_identity)) is presented here as well.
    pub fn tls(mut self) -> Self {
        self.is_tls = true;
        self
    }

    /// Sets the time after which a connection over HTTP/1.1 is closed if no request arrives, or the headers of a request are
    /// not complete. Over HTTP/2, the server sends a PING after this time without data, and closes the connection if the
    /// answer does not arrive within the same time. Defaults to 75 s, which is more than the 60 s after which many load balancers
    /// close idle connections.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Opens the socket. The server accepts no connections before [`HttpListener::run`].
    ///
    /// # Errors
    /// Returns an error if the address cannot be resolved or bound, or if the server uses TLS and has no identity.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<HttpListener, HttpBindError> {
        let tls = match self.is_tls {
            true => Some(
                self.service
                    .services()
                    .tls()
                    .ok_or(HttpBindError::NoIdentity)?,
            ),
            false => None,
        };
        let listener = TcpListener::bind(address).await;
        Ok(HttpListener {
            listener: listener.map_err(HttpBindError::Address)?,
            acceptor: Acceptor {
                service: self.service,
                tls,
                idle_timeout: self.idle_timeout,
            },
        })
    }
}

/// The reason why an [`HttpServer`] could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HttpBindError {
    /// The address cannot be resolved or bound.
    #[error("cannot listen on the address: {0}")]
    Address(#[source] io::Error),
    /// The server uses TLS, and its services were built without an identity.
    #[error("TLS needs an identity; build the services with `Server::builder(identity)`")]
    NoIdentity,
}

/// A TCP listener that answers HTTP requests. [`HttpServer::bind`] creates it.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    acceptor: Acceptor,
}

impl HttpListener {
    /// Returns the address that the server listens on. It tells the port if the server was bound to port 0.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until the server of the services drains. The shutdown waits until all requests are answered.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener. Open connections are served until the shutdown.
    pub async fn run(self) {
        let Self { listener, acceptor } = self;
        let handle = acceptor.service.services().handle();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = handle.draining() => return,
            };
            match accepted {
                Ok((stream, peer)) => acceptor.accept(stream, peer),
                Err(error) => {
                    tracing::warn!(target: "rpc_http", error = %Escaped(&error), "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The reason why the server ends a connection.
enum Ending {
    Drained,
    /// The client has caused excessive load.
    Closed,
}

/// Serves the connections of a listener.
#[derive(Debug, Clone)]
struct Acceptor {
    service: HttpService,
    tls: Option<TlsOverTcp>,
    idle_timeout: Duration,
}

impl Acceptor {
    /// Serves a connection in a task of its own, if the limits of the server admit it.
    fn accept(&self, stream: TcpStream, peer: SocketAddr) {
        // The limits log a connection that they refuse.
        let Ok(ticket) = self.service.services().admit(peer) else {
            return;
        };
        // Answers are written at once; the kernel must not wait for more.
        let _ = stream.set_nodelay(true);
        tokio::spawn(self.clone().handshake(stream, peer, ticket));
    }

    /// Completes the TLS handshake, if the server uses TLS, and serves the connection.
    async fn handshake(self, stream: TcpStream, peer: SocketAddr, mut ticket: ConnectionTicket) {
        let known = GatewayPeer::default().address(peer);
        let Some(tls) = &self.tls else {
            ticket.handshake_done();
            return self.serve(stream, known, ticket).await;
        };
        let handshake = TlsAcceptor::from(tls.rustls_config()).accept(stream);
        let handshake = tokio::select! {
            biased;
            handshake = timeout(ticket.handshake_timeout(), handshake) => handshake,
            () = ticket.evicted() => return ticket.record_evicted(),
        };
        match handshake {
            Ok(Ok(stream)) => {
                ticket.handshake_done();
                let certificates = stream.get_ref().1.peer_certificates();
                let known = match certificates.and_then(<[_]>::first) {
                    Some(certificate) => known.certificate(certificate),
                    None => known,
                };
                self.serve(stream, known, ticket).await;
            }
            Ok(Err(error)) => ticket.record_failed_handshake(&error),
            Err(_) => ticket.record_timed_out_handshake(),
        }
    }

    /// Serves a connection until it is closed, or the server is shut down and the requests are answered.
    async fn serve<I>(self, stream: I, peer: GatewayPeer, ticket: ConnectionTicket)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = self.builder();
        let services = self.service.services();
        let handle = services.handle();
        let connection = Arc::new(services.connect(peer.clone()));
        // A WebSocket that a request is upgraded to holds it as well.
        let ticket = Arc::new(ticket);
        let http = HttpConnection {
            connection: Arc::clone(&connection),
            peer,
            ticket: TcpTicket::new(Arc::clone(&ticket)),
        };
        let write_timeout = services.limits().write_timeout;
        // All that requests need is shared, so that a request costs no more than one reference.
        let here = Arc::new((self.service, Arrival { http, ticket }));
        let answer = service_fn(|request: Request<Incoming>| {
            let here = Arc::clone(&here);
            async move {
                let (service, arrival) = &*here;
                Ok::<_, Infallible>(service.answer(request, Some(arrival)).await)
            }
        });
        let stream = TimedIo::new(stream, self.idle_timeout, write_timeout);
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
        let mut serving = std::pin::pin!(serving);
        // Each is polled only when it has been woken, and not with each request.
        let draining = Box::pin(async {
            handle.draining().await;
            Ending::Drained
        });
        let closed = Box::pin(async {
            connection.closed().await;
            Ending::Closed
        });
        let ends: [Pin<Box<dyn Future<Output = Ending> + Send>>; 2] = [draining, closed];
        let mut ends = FuturesUnordered::from_iter(ends);
        let ended = tokio::select! {
            biased;
            ended = &mut serving => ended,
            Some(end) = ends.next() => match end {
                Ending::Drained => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
                Ending::Closed => return,
            },
        };
        if let Err(error) = ended {
            tracing::debug!(target: "rpc_http", error = %Escaped(&error), "connection ended");
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let limits = self.service.services().limits();
        let calls = u32::try_from(limits.max_concurrent_calls_per_connection).unwrap_or(u32::MAX);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle_timeout)
            // The maximum number of headers stays hyper's default of 100: to set it costs more for each request.
            .max_buf_size(MAX_BUFFER_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .keep_alive_interval(self.idle_timeout)
            .keep_alive_timeout(self.idle_timeout)
            .max_concurrent_streams(calls)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .max_send_buf_size(MAX_BUFFER_BYTES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        builder
    }
}
