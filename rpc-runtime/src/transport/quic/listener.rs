//! The socket of a server: accepts connections, and and replaces the keys of its identity.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::AsyncUdpSocket;
use quinn::crypto::rustls::QuicServerConfig;

use crate::limits::Limits;
use crate::tls::DerivedSecret;
use crate::transport::quic::config::{self, ALPN, accept_packets};
use crate::transport::quic::incoming::IncomingConnection;
use crate::transport::quic::server_socket::ServerSocket;
use crate::transport::quic::stateless_reset::ResetKey;
use crate::transport::quic::udp::socket;
use crate::transport::quic::window::Windows;
use crate::transport::settings::{Role, TransportSettings};

/// The maximum size of packets buffered for a connection before the server accepts it, in bytes.
const INCOMING: u64 = 64 << 10;

/// A server's socket.
#[derive(Clone)]
pub(crate) struct Listener {
    endpoint: quinn::Endpoint,
    socket: Arc<ServerSocket>,
    reset_key: Arc<ResetKey>,
    /// Reused for each of the server's identities.
    settings: ListenerSettings,
}

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
            transport: config::transport(transport, Role::Server),
            windows: Windows::of(transport),
            handshakes: limits.max_handshakes,
        };
        let socket = ServerSocket::new(socket.open(transport)?)?;
        let address = socket.local_addr()?;
        let reset_key = Arc::new(ResetKey::new(&keys.secret, replica, address));
        let mut lasting = reset_key.endpoint_config();
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
            settings,
        })
    }

    /// Replaces all keys that are derived from the server's identity, for new connections.
    pub(crate) fn set_keys(&self, keys: ListenerKeys) {
        let config = self.settings.config(keys.tls);
        let config = config.expect("the first identity had the same cipher suites");
        self.reset_key.replace(&keys.secret);
        self.endpoint.set_server_config(Some(config));
    }

    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Accepts the next connection. Returns `None` once the socket is closed.
    pub(crate) async fn accept(&self) -> Option<IncomingConnection> {
        let incoming = self.endpoint.accept().await?;
        Some(IncomingConnection::new(incoming, self.settings.windows))
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

/// The keys that a server derives from its identity.
pub(crate) struct ListenerKeys {
    pub(crate) tls: rustls::ServerConfig,
    pub(crate) secret: DerivedSecret,
}

/// The settings that do not depend on the server's identity.
#[derive(Clone)]
struct ListenerSettings {
    transport: Arc<quinn::TransportConfig>,
    windows: Windows,
    handshakes: usize,
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
