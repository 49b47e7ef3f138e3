//! A connection of a server before its handshake.

use std::net::SocketAddr;

use crate::event::HandshakeFailure;
use crate::transport::error::ConnectionError;
use crate::transport::handshake::alert;
use crate::transport::quic::connection::{Connection, LocalSocket};
use crate::transport::quic::error::lost;
use crate::transport::quic::udp::canonical;
use crate::transport::quic::window::Windows;

/// A connection before its handshake.
pub(crate) struct IncomingConnection {
    incoming: quinn::Incoming,
    windows: Windows,
}

impl IncomingConnection {
    pub(super) fn new(incoming: quinn::Incoming, windows: Windows) -> Self {
        Self { incoming, windows }
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        canonical(self.incoming.remote_address())
    }

    /// Returns `true` if the client's address is validated.
    pub(crate) fn is_validated(&self) -> bool {
        self.incoming.remote_address_validated()
    }

    /// Sends a Retry packet. The client validates its address by returning the token (RFC 9000, section 8.1.2).
    pub(crate) fn send_retry(self) {
        // Fails for a connection that already carries a token. The connection is then refused.
        let _ = self.incoming.retry();
    }

    pub(crate) fn ignore(self) {
        self.incoming.ignore();
    }

    pub(crate) async fn handshake(self) -> Result<Connection, FailedHandshake> {
        let failed = |error| FailedHandshake {
            kind: handshake_failure(&error),
            reason: lost(error),
        };
        let connection = self
            .incoming
            .accept()
            .map_err(failed)?
            .await
            .map_err(failed)?;
        Ok(Connection::new(
            connection,
            LocalSocket::Server,
            self.windows,
        ))
    }

    pub(crate) fn refuse(self) {
        self.incoming.refuse();
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
