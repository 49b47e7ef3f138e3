//! The errors of quinn as those of this crate.

use crate::codec::escape::Escaped;
use crate::transport::error::ConnectionError;

/// The reason why a handshake failed, as QUIC reports it.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Socket(std::io::Error),
    /// The server name is not one that TLS can verify.
    Name,
    /// The server does not support this protocol.
    Alpn,
    /// The server requires a certificate.
    CertificateRequired,
    /// The server rejected the certificate with this TLS alert.
    CertificateRefused(u8),
    Lost(ConnectionError),
}

pub(super) fn handshake_error(error: quinn::ConnectionError) -> HandshakeError {
    let (code, by_server) = match &error {
        quinn::ConnectionError::TransportError(error) => (error.code, false),
        quinn::ConnectionError::ConnectionClosed(close) => (close.error_code, true),
        _ => return HandshakeError::Lost(lost(error)),
    };
    if by_server && code == quinn::TransportErrorCode::CONNECTION_REFUSED {
        return HandshakeError::Lost(ConnectionError::Transport(REFUSED.into()));
    }
    // QUIC carries an alert in the lowest byte of an error (RFC 9001, section 4.8).
    let number = u64::from(code) as u8;
    match number {
        _ if code != quinn::TransportErrorCode::crypto(number) => HandshakeError::Lost(lost(error)),
        alert::NO_APPLICATION_PROTOCOL => HandshakeError::Alpn,
        alert::CERTIFICATE_REQUIRED if by_server => HandshakeError::CertificateRequired,
        alert::UNKNOWN_CA | alert::ACCESS_DENIED | alert::DECRYPT_ERROR if by_server => {
            HandshakeError::CertificateRefused(number)
        }
        number if by_server && alert::CERTIFICATE.contains(&number) => {
            HandshakeError::CertificateRefused(number)
        }
        _ => HandshakeError::Lost(lost(error)),
    }
}

/// The codes of TLS alerts ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
pub(super) mod alert {
    /// The alerts from `bad_certificate` to `certificate_unknown`.
    pub(in crate::transport::quic) const CERTIFICATE: std::ops::RangeInclusive<u8> = 42..=46;
    pub(in crate::transport::quic) const UNKNOWN_CA: u8 = 48;
    pub(in crate::transport::quic) const ACCESS_DENIED: u8 = 49;
    pub(in crate::transport::quic) const DECRYPT_ERROR: u8 = 51;
    pub(in crate::transport::quic) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(in crate::transport::quic) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// The reason of a connection that the server refuses. The server names the limit in its log only, since the client's address
/// may be forged.
const REFUSED: &str = "the server refuses further connections (CONNECTION_REFUSED): it is shutting down, or one of its limits is reached, \
     usually `Limits::max_connections_per_address` (64 by default); close clients that are not used, share one `Client` \
     in the process, or raise the limit that the log of the server names";

pub(super) fn lost(error: quinn::ConnectionError) -> ConnectionError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => ConnectionError::ClosedByPeer {
            code: close.error_code.into_inner(),
            reason: Escaped(String::from_utf8_lossy(&close.reason)).to_string(),
        },
        quinn::ConnectionError::LocallyClosed => ConnectionError::ClosedHere,
        quinn::ConnectionError::TimedOut => ConnectionError::TimedOut,
        quinn::ConnectionError::Reset => ConnectionError::Reset,
        error => ConnectionError::Transport(Escaped(error).to_string()),
    }
}
