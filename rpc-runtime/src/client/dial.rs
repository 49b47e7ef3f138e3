//! Opens one connection to a server.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::client::address::{Address, AddressError};
use crate::client::happy_eyeballs::{alternate, first_success};
use crate::client::retry::backoff::Backoff;
use crate::codec::escape::Escaped;
use crate::description::names::DuplicateMethod;
use crate::tls::{
    HandshakeResult, Identity, ServerTrust, TlsError, UntrustedReason, Verifier, client_config,
};
use crate::transport::handshake::HandshakeError;
#[cfg(feature = "http2")]
use crate::transport::http2;
use crate::transport::quic::{ClientTransport, ConnectAttempt};
use crate::transport::settings::TransportSettingsError;
use crate::transport::{Connection, ConnectionError};

/// The default time limit for resolving a name and the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Settings with which a client connects and reconnects.
#[derive(Debug, Clone, Default)]
pub(super) struct DialSettings {
    pub(super) trust: ServerTrust,
    pub(super) identity: Option<Identity>,
    pub(super) server_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) backoff: Backoff,
    pub(super) transport: ClientTransport,
    /// The server over HTTP/2, for networks in which QUIC does not work.
    #[cfg(feature = "http2")]
    pub(super) fallback: Option<Result<Address, AddressError>>,
    /// The pauses before QUIC is tried again.
    #[cfg(feature = "http2")]
    pub(super) quic_retry: Option<Backoff>,
}

impl DialSettings {
    /// Checks the settings that were not checked when they were set.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        self.transport.settings.check()?;
        #[cfg(feature = "http2")]
        if let Some(Err(error)) = &self.fallback {
            return Err(error.clone().into());
        }
        Ok(())
    }

    /// Returns the time limit of an attempt to connect.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }
}

/// Connects to one server.
pub(super) struct Dialer {
    pub(super) settings: DialSettings,
    pub(super) address: Address,
}

impl Dialer {
    pub(super) async fn dial(&self, attempt: &ConnectAttempt) -> Result<Connection, ConnectError> {
        let limit = self.settings.connect_timeout();
        let mut failure = Failure::default();
        let dialed = async {
            let resolved = self.address.resolve().await;
            let candidates = alternate(resolved.map_err(|error| self.unresolved(&error))?);
            self.connect_to_any(candidates, &mut failure, attempt).await
        };
        match tokio::time::timeout(limit, dialed).await {
            Ok(Ok(Some(connection))) => Ok(connection),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) => Err(failure.of_all()),
            Err(_) => Err(failure.of_some(&self.address)),
        }
    }

    /// Returns the error of a host that cannot be resolved, which names the host.
    fn unresolved(&self, error: &std::io::Error) -> ConnectError {
        let reason = format!("{}: {error}", Escaped(self.address.host()));
        ConnectError::Resolve(std::io::Error::new(error.kind(), reason))
    }

    /// Connects to one of several addresses of the server. Returns `None` if all attempts have failed.
    async fn connect_to_any(
        &self,
        candidates: Vec<SocketAddr>,
        failure: &mut Failure,
        settings: &ConnectAttempt,
    ) -> Result<Option<Connection>, ConnectError> {
        let verifier = self.settings.trust.verifier().await?;
        let attempt = |candidate| self.connect_to(candidate, &verifier, settings);
        Ok(first_success(candidates, attempt, |error| failure.add(error)).await)
    }

    async fn connect_to(
        &self,
        candidate: SocketAddr,
        verifier: &Verifier,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, ConnectError> {
        let Self { settings, address } = self;
        let server_name = settings.server_name.as_deref();
        let server_name = server_name.unwrap_or(address.server_name());
        let (tls, handshake_result) = client_config(verifier, settings.identity.clone())?;
        let transport = &settings.transport;
        #[cfg(feature = "http2")]
        if let Some((is_tls, authority, path)) = address.http() {
            let dial = http2::Dial {
                address: candidate,
                target: http2::Target {
                    authority: &authority,
                    path,
                },
                tls: is_tls.then_some((server_name, tls)),
                settings: &transport.settings,
            };
            let connected = tokio::time::timeout(attempt.answer_timeout, dial.connect()).await;
            let silent = HandshakeError::Lost(ConnectionError::TimedOut);
            return connected
                .unwrap_or(Err(silent))
                .map(Connection::Http2)
                .map_err(|error| {
                    ConnectError::new(error, (address, candidate), &handshake_result)
                });
        }
        let server = (candidate, server_name);
        let connected = transport.connect(server, tls, &handshake_result, attempt);
        connected
            .await
            .map(Connection::Quic)
            .map_err(|error| ConnectError::new(error, (address, candidate), &handshake_result))
    }
}

/// The most informative error of the attempts with the addresses of a server.
#[derive(Default)]
struct Failure(Option<ConnectError>);

impl Failure {
    /// Adds the error of an attempt. Returns `false` if the attempts with other addresses will fail with the same error.
    fn add(&mut self, error: ConnectError) -> bool {
        let can_succeed = !matches!(error, ConnectError::ServerName | ConnectError::Trust(_));
        let known = self.0.as_ref().map(informativeness);
        if known.is_none_or(|known| known < informativeness(&error)) {
            self.0 = Some(error);
        }
        can_succeed
    }

    /// Returns the error of a client whose attempts have all failed.
    fn of_all(self) -> ConnectError {
        let no_addresses = || ConnectError::Resolve(std::io::ErrorKind::NotFound.into());
        self.0.unwrap_or_else(no_addresses)
    }

    /// Returns the error of a client some of whose attempts were in progress when the time had passed.
    fn of_some(self, server: &Address) -> ConnectError {
        let answered = self.0.filter(|error| informativeness(error) > 0);
        answered.unwrap_or_else(|| ConnectError::timeout(server))
    }
}

/// Returns a rank of the errors of one attempt. The error of a server that answered says more than silence does, and a
/// certificate more than a refusal.
pub(super) fn informativeness(error: &ConnectError) -> u8 {
    match error {
        ConnectError::Socket(_) | ConnectError::Timeout { .. } => 0,
        ConnectError::Refused { .. } => 1,
        _ => 2,
    }
}

/// The reason why no connection could be made.
///
/// The text says what failed and why, in one line, so no error has a [source](std::error::Error::source). Text of the peer is
/// escaped.
///
/// ```
/// use rpc_runtime::{Client, ConnectError};
///
/// fn may_pass(error: &ConnectError) -> bool {
///     use ConnectError::{Refused, Resolve, Socket, Timeout};
///     matches!(error, Resolve(_) | Timeout { .. } | Refused { .. } | Socket(_))
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
    /// The address cannot be parsed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The name cannot be resolved to an address.
    #[error("cannot find the host {0}")]
    Resolve(std::io::Error),
    /// The trust settings cannot be used.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The server's certificate is not trusted, or is for another name than the one dialled.
    #[error(transparent)]
    Untrusted(#[from] UntrustedReason),
    /// The server requires a certificate of its clients; set [`ClientBuilder::identity`](crate::ClientBuilder::identity).
    #[error("the server asks for a certificate, and this client has none: give it an `identity`")]
    CertificateRequired,
    /// The server rejected this client's certificate.
    #[error("the server does not accept this client's certificate: {}", meaning(*alert))]
    CertificateRefused {
        /// The reason, as a TLS alert ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
        alert: u8,
    },
    /// The host is not a name that a certificate can have; set
    /// [`ClientBuilder::server_name`](crate::ClientBuilder::server_name).
    #[error("the host is not a name that a certificate could have")]
    ServerName,
    /// The server does not support the protocol `jsonrpc/1`.
    #[error("the server {server} does not speak `jsonrpc/1`")]
    Protocol {
        /// The address of the server, as for [`Timeout`](Self::Timeout).
        server: String,
    },
    /// The server does not speak HTTP/2, over which a client connects to an `https://` or `http://` address.
    #[error(
        "the server {server} does not speak HTTP/2; only HTTP/2 carries streams, so enable it at the server and at each proxy"
    )]
    NoHttp2 {
        /// The address of the server, as for [`Timeout`](Self::Timeout).
        server: String,
    },
    /// The server, or a proxy, answered the first request over HTTP/2 with something else than the reply to a call.
    #[error("the server {server} answered with HTTP status {status}, {}", status_hint(*status))]
    HttpStatus {
        /// The address of the server, as for [`Timeout`](Self::Timeout).
        server: String,
        /// The status code of HTTP.
        status: u16,
    },
    /// No server answered in time: it does not run, it has another address, or the network does not let UDP pass.
    #[error(
        "no server answered in time (`ClientBuilder::connect_timeout`): {server}; check that it runs, its address and its {0} port, and that no firewall blocks {0}",
        protocol(server)
    )]
    Timeout {
        /// The address of the server, as it was given to the client; followed by the address to which its name was resolved,
        /// if that is another one and known.
        server: String,
    },
    /// The server refused the connection, or the connection was lost during the handshake.
    #[error("the connection to {server} was not made: {reason}")]
    Refused {
        /// The address of the server, as for [`Timeout`](Self::Timeout).
        server: String,
        /// The reason.
        reason: ConnectionError,
    },
    /// The client is closed.
    #[error("the client is closed: {0}")]
    Closed(ConnectionError),
    /// None of several servers can be reached. Holds the error of the last attempt with one of them.
    #[error("no server can be reached: {0}")]
    AllUnreachable(Arc<ConnectError>),
    /// No local socket can be opened.
    #[error("cannot open a socket: {0}")]
    Socket(std::io::Error),
    /// A setting of the transport is outside its range.
    #[error(transparent)]
    Transport(#[from] TransportSettingsError),
    /// Two services of the client have a method of the same name; give one of them a `namespace`.
    #[error("{}", DuplicateMethod { method, services: *services })]
    DuplicateMethod {
        /// The name of the method on the wire.
        method: &'static str,
        /// The names of the two traits.
        services: [&'static str; 2],
    },
}

impl ConnectError {
    /// Creates the error of a server that did not answer in time.
    pub(super) fn timeout(server: &impl fmt::Display) -> Self {
        let server = Escaped(server).to_string();
        Self::Timeout { server }
    }

    fn new(
        error: HandshakeError,
        (address, candidate): (&Address, SocketAddr),
        handshake_result: &HandshakeResult,
    ) -> Self {
        if let Some(reason) = handshake_result.take() {
            return Self::Untrusted(reason);
        }
        let server = || {
            let (given, dialled) = (address.to_string(), candidate.to_string());
            match given == dialled {
                true => given,
                false => format!("{} ({dialled})", Escaped(given)),
            }
        };
        match error {
            HandshakeError::Socket(error) => Self::Socket(error),
            HandshakeError::Name => Self::ServerName,
            HandshakeError::Alpn if address.is_http() => Self::NoHttp2 { server: server() },
            HandshakeError::Alpn => Self::Protocol { server: server() },
            HandshakeError::CertificateRequired => Self::CertificateRequired,
            HandshakeError::CertificateRefused(alert) => Self::CertificateRefused { alert },
            #[cfg(feature = "http2")]
            HandshakeError::Status(status) => Self::HttpStatus {
                server: server(),
                status,
            },
            HandshakeError::Lost(ConnectionError::TimedOut) => Self::Timeout { server: server() },
            HandshakeError::Lost(reason) => Self::Refused {
                server: server(),
                reason,
            },
        }
    }
}

/// Returns the protocol over which a server with this address is dialled.
fn protocol(server: &str) -> &'static str {
    match server.starts_with("http") && server.contains("://") {
        true => "TCP",
        false => "UDP",
    }
}

/// Says what a status of HTTP in place of a reply means, and what to do.
fn status_hint(status: u16) -> &'static str {
    match status {
        200 => "and no JSON: what is served at this path is no JSON-RPC",
        300..=399 => "which sends the client elsewhere: use the address that it names",
        401 | 407 => "since it requires a login",
        403 => "so it refuses this host or this client",
        404 | 410 => "so nothing is served at this path: check the path of the URL",
        405 | 415 => "so what is served at this path is no JSON-RPC",
        429 => "since there were too many requests",
        502 | 504 => "so a proxy cannot reach the server",
        503 => "so it has no room for this client, is shutting down, or a proxy cannot reach it",
        _ => "which is no reply to a call",
    }
}

/// Describes the problem of a certificate for which a server sends this alert.
fn meaning(alert: u8) -> &'static str {
    match alert {
        43 => "it is not made for client authentication",
        44 => "it has been revoked",
        45 => "it has expired or is not valid yet",
        48 => "the server trusts none of those that have signed it",
        49 => "it is not among those that the server accepts",
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

#[cfg(all(test, feature = "server", not(feature = "__shuttle")))]
mod tests;
