//! The connections that a client opens.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::ReadError;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};

use crate::tls::HandshakeResult;
use crate::transport::error::{ConnectionError, close};
use crate::transport::handshake::HandshakeError;
use crate::transport::quic::attempt::ConnectAttempt;
use crate::transport::quic::client_socket::{ClientEndpoint, ClientSocket};
use crate::transport::quic::config::{ALPN, transport};
use crate::transport::quic::connection::{Connection, LocalSocket};
use crate::transport::quic::error::handshake_error;
use crate::transport::quic::udp::{any, socket};
use crate::transport::quic::window::Windows;
use crate::transport::settings::{Role, TransportSettings};

/// The transport of a client: its settings, and the socket that it shares with other clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientTransport {
    pub(crate) settings: TransportSettings,
    /// `None` if each connection has a socket of its own.
    pub(crate) socket: Option<ClientSocket>,
}

impl ClientTransport {
    pub(crate) async fn connect(
        &self,
        (address, server_name): (SocketAddr, &str),
        tls: rustls::ClientConfig,
        handshake_result: &HandshakeResult,
        attempt: &ConnectAttempt,
    ) -> Result<Connection, HandshakeError> {
        let config = self.config(tls).map_err(HandshakeError::Socket)?;
        let spare = attempt.socket(address).map(Ok);
        let local = spare.unwrap_or_else(|| self.socket(address));
        let local = local.map_err(HandshakeError::Socket)?;
        let endpoint = local.client().map(|client| client.endpoint.clone());
        let endpoint = endpoint
            .ok_or_else(|| HandshakeError::Socket(std::io::ErrorKind::NotConnected.into()))?;
        let connection = tokio::select! {
            connected = connect(&endpoint, config, (address, server_name)) => connected?,
            () = attempt.is_unanswered(&local) => {
                return Err(HandshakeError::Lost(ConnectionError::TimedOut));
            }
        };
        if handshake_result.certificate_was_requested() {
            answered(&connection).await.map_err(handshake_error)?;
        }
        let windows = Windows::of(&self.settings);
        Ok(Connection::new(connection, local, windows))
    }

    fn config(&self, mut tls: rustls::ClientConfig) -> std::io::Result<quinn::ClientConfig> {
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(std::io::Error::other)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport(&self.settings, Role::Client));
        Ok(config)
    }

    /// Returns the socket for a connection to this address.
    fn socket(&self, address: SocketAddr) -> std::io::Result<LocalSocket> {
        if let Some(ClientSocket(shared)) = &self.socket {
            return Ok(LocalSocket::Shared(shared.clone()));
        }
        let buffer = self.settings.socket_buffer_bytes as usize;
        let endpoint = ClientEndpoint::new(socket(any(address), buffer)?, &self.settings)?;
        Ok(LocalSocket::Own { endpoint, buffer })
    }
}

async fn connect(
    endpoint: &quinn::Endpoint,
    config: quinn::ClientConfig,
    (address, server_name): (SocketAddr, &str),
) -> Result<quinn::Connection, HandshakeError> {
    let connecting = endpoint
        .connect_with(config, address, server_name)
        .map_err(|error| match error {
            quinn::ConnectError::InvalidServerName(_) => HandshakeError::Name,
            error => HandshakeError::Socket(std::io::Error::other(error)),
        })?;
    let connection = connecting.await.map_err(handshake_error)?;
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok());
    if data.and_then(|data| data.protocol).as_deref() != Some(ALPN) {
        connection.close(close::DONE.into(), b"");
        return Err(HandshakeError::Alpn);
    }
    Ok(connection)
}

/// Waits until the server has verified this client's certificate. With TLS 1.3 the client's handshake completes before
/// that. The server ends an empty stream, but only after the handshake.
async fn answered(connection: &quinn::Connection) -> Result<(), quinn::ConnectionError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // If the server stops the stream, the handshake has succeeded as well.
    let _ = send.finish();
    match recv.read_to_end(0).await {
        Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(error),
        _ => Ok(()),
    }
}
