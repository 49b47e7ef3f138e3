//! The socket of a server: accepts connections, and signs stateless resets.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::AsyncUdpSocket;
use quinn::crypto::HmacKey;
use quinn::crypto::rustls::QuicServerConfig;

use super::{
    ALPN, Connection, LocalSocket, Windows, accept_packets, alert, canonical, lost, socket,
};
use crate::event::HandshakeFailure;
use crate::limits::Limits;
use crate::sync::{Mutex, lock};
use crate::tls::DerivedSecret;
use crate::tls::library::hmac;
use crate::tls::library::rand::{SecureRandom, SystemRandom};
use crate::transport::error::ConnectionError;
use crate::transport::quic::server_socket::ServerSocket;
use crate::transport::settings::{Role, TransportSettings};

/// Generates connection IDs that are independent of the process, so that a restarted server answers packets for its
/// predecessor's connections with a reset.
struct RandomIds(SystemRandom);

impl RandomIds {
    const LENGTH: usize = 8;
}

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; Self::LENGTH];
        self.0
            .fill(&mut id)
            .expect("the handshake found randomness");
        quinn::ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        Self::LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The maximum size of packets buffered for a connection before the server accepts it, in bytes.
const INCOMING: u64 = 64 << 10;

/// The minimum time between two stateless resets: a server sends at most 5,000 a second. Each is smaller than the packet
/// that it answers, so that a server amplifies nothing. All clients of a server that was restarted wait for one, so a long
/// interval delays the last of them.
const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// A server's socket.
#[derive(Clone)]
pub(crate) struct Listener {
    endpoint: quinn::Endpoint,
    socket: Arc<ServerSocket>,
    reset_key: Arc<ResetKey>,
    /// Identifies this server among those that share its identity.
    replica: Arc<[u8]>,
    /// Reused for each of the server's identities.
    settings: ListenerSettings,
}

/// The keys that a server derives from its identity.
pub(crate) struct ListenerKeys {
    pub(crate) tls: rustls::ServerConfig,
    pub(crate) secret: DerivedSecret,
}

/// Returns the bytes that identify a server among those that share its identity: its name or the host's, and its address.
/// A server that is restarted has the same, and no two that run at the same time should have.
fn replica_id(name: Option<&str>, address: SocketAddr) -> Vec<u8> {
    let host = || {
        // There is no portable way to ask for it. Windows sets the variable.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        host.or_else(|| std::env::var("COMPUTERNAME").ok())
    };
    match name {
        Some(name) => format!("name {name}"),
        None => format!("{address} {}", host().unwrap_or_default().trim()),
    }
    .into_bytes()
}

/// The settings that do not depend on the server's identity.
#[derive(Clone)]
struct ListenerSettings {
    transport: Arc<quinn::TransportConfig>,
    windows: Windows,
    handshakes: usize,
}

/// The socket of a server.
#[derive(Debug)]
pub(crate) enum ListenerSocket {
    /// A socket that is to be opened at this address.
    Address(SocketAddr),
    /// A socket that the program has opened.
    Open(UdpSocket),
}

impl ListenerSocket {
    fn open(self, settings: &TransportSettings) -> std::io::Result<UdpSocket> {
        match self {
            Self::Address(address) => {
                let opened = socket(address, settings.socket_buffer_bytes as usize);
                opened.map_err(|error| {
                    std::io::Error::new(error.kind(), format!("{address}: {error}"))
                })
            }
            Self::Open(socket) => Ok(socket),
        }
    }
}

impl ListenerSettings {
    /// Returns the configuration for new connections. Its address validation tokens have a random key of their own.
    fn config(&self, mut tls: rustls::ServerConfig) -> std::io::Result<quinn::ServerConfig> {
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // Early data can be replayed, so it must not carry calls.
        tls.max_early_data_size = 0;
        let crypto = QuicServerConfig::try_from(tls).map_err(std::io::Error::other)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(Arc::clone(&self.transport))
            // The handshakes that are counted, and as many connections whose packets are not processed yet.
            .max_incoming(self.handshakes.saturating_mul(2))
            .incoming_buffer_size(INCOMING)
            .incoming_buffer_size_total(INCOMING.saturating_mul(self.handshakes as u64));
        Ok(config)
    }
}

/// The key of stateless resets, which changes with the server's identity.
struct ResetKey(Mutex<hmac::Key>);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = hmac::sign(&lock(&self.0), data);
        signature_out.copy_from_slice(tag.as_ref());
    }

    fn signature_len(&self) -> usize {
        lock(&self.0).algorithm().digest_algorithm().output_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let verified = hmac::verify(&lock(&self.0), data, signature);
        verified.map_err(|_| quinn::crypto::CryptoError)
    }
}

/// A connection before its handshake.
pub(crate) struct IncomingConnection(quinn::Incoming, Windows);

impl Listener {
    /// Opens the socket. `replica` is the name of this server among those that share its identity.
    pub(crate) fn bind(
        socket: ListenerSocket,
        keys: ListenerKeys,
        replica: Option<&str>,
        limits: &Limits,
        transport: &TransportSettings,
    ) -> std::io::Result<Self> {
        let settings = ListenerSettings {
            transport: super::transport(transport, Role::Server),
            windows: Windows::of(transport),
            handshakes: limits.max_handshakes,
        };
        let socket = ServerSocket::new(socket.open(transport)?)?;
        let replica: Arc<[u8]> = replica_id(replica, socket.local_addr()?).into();
        let reset_key = Arc::new(ResetKey(Mutex::new(keys.secret.reset_key(&replica))));
        let mut lasting = quinn::EndpointConfig::new(Arc::clone(&reset_key) as _);
        lasting
            .cid_generator(|| Box::new(RandomIds(SystemRandom::new())))
            .min_reset_interval(RESET_INTERVAL);
        accept_packets(&mut lasting, transport);
        let config = settings.config(keys.tls)?;
        let endpoint = quinn::Endpoint::new_with_abstract_socket(
            lasting,
            Some(config),
            Arc::clone(&socket) as _,
            Arc::new(quinn::TokioRuntime),
        )?;
        Ok(Self {
            endpoint,
            socket,
            reset_key,
            replica,
            settings,
        })
    }

    /// Replaces all keys that are derived from the server's identity, for new connections.
    pub(crate) fn set_keys(&self, keys: ListenerKeys) {
        let config = self.settings.config(keys.tls);
        let config = config.expect("the first identity had the same cipher suites");
        *lock(&self.reset_key.0) = keys.secret.reset_key(&self.replica);
        self.endpoint.set_server_config(Some(config));
    }

    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Accepts the next connection. Returns `None` once the socket is closed.
    pub(crate) async fn accept(&self) -> Option<IncomingConnection> {
        let incoming = self.endpoint.accept().await?;
        Some(IncomingConnection(incoming, self.settings.windows))
    }

    /// Closes every connection and accepts no further ones.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(code.into(), reason.as_bytes());
    }

    /// Waits until the peers know that their connections are closed.
    pub(crate) async fn idle(&self) {
        self.endpoint.wait_idle().await;
    }

    /// Closes the socket, and waits until its address is free. Packets that are sent afterwards are discarded.
    pub(crate) async fn close_socket(&self) {
        self.socket.close().await;
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.local_address())
            .finish_non_exhaustive()
    }
}

impl IncomingConnection {
    pub(crate) fn remote_address(&self) -> SocketAddr {
        canonical(self.0.remote_address())
    }

    /// Returns `true` if the client's address is validated.
    pub(crate) fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Sends a Retry packet. The client validates its address by returning the token (RFC 9000, section 8.1.2).
    pub(crate) fn send_retry(self) {
        // Fails for a connection that already carries a token. The connection is then refused.
        let _ = self.0.retry();
    }

    pub(crate) fn ignore(self) {
        self.0.ignore();
    }

    pub(crate) async fn handshake(self) -> Result<Connection, FailedHandshake> {
        let failed = |error| FailedHandshake {
            kind: handshake_failure(&error),
            reason: lost(error),
        };
        let connection = self.0.accept().map_err(failed)?.await.map_err(failed)?;
        Ok(Connection(connection, LocalSocket::Server, self.1.unread()))
    }

    pub(crate) fn refuse(self) {
        self.0.refuse();
    }
}

/// The reason why a handshake failed on the server.
pub(crate) struct FailedHandshake {
    pub(crate) kind: HandshakeFailure,
    pub(crate) reason: ConnectionError,
}

/// Classifies the failure of a handshake on the server.
fn handshake_failure(error: &quinn::ConnectionError) -> HandshakeFailure {
    let (code, by_client) = match error {
        quinn::ConnectionError::TransportError(error) => (error.code, false),
        quinn::ConnectionError::ConnectionClosed(close) => (close.error_code, true),
        quinn::ConnectionError::ApplicationClosed(_) | quinn::ConnectionError::Reset => {
            return HandshakeFailure::ClosedByPeer;
        }
        quinn::ConnectionError::TimedOut => return HandshakeFailure::TimedOut,
        quinn::ConnectionError::VersionMismatch => return HandshakeFailure::Protocol,
        _ => return HandshakeFailure::Other,
    };
    let number = u64::from(code) as u8;
    let is_of_certificate = alert::CERTIFICATE.contains(&number)
        || [
            alert::UNKNOWN_CA,
            alert::ACCESS_DENIED,
            alert::DECRYPT_ERROR,
            alert::CERTIFICATE_REQUIRED,
        ]
        .contains(&number);
    match by_client {
        _ if code != quinn::TransportErrorCode::crypto(number) => match by_client {
            true => HandshakeFailure::ClosedByPeer,
            false => HandshakeFailure::Other,
        },
        true if is_of_certificate => HandshakeFailure::ServerCertificate,
        false if is_of_certificate => HandshakeFailure::ClientCertificate,
        _ => HandshakeFailure::Protocol,
    }
}
