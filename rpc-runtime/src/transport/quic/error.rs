//! The errors of quinn as those of this crate.

use crate::codec::escape::Escaped;
use crate::transport::error::ConnectionError;
use crate::transport::handshake::HandshakeError;

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
    if code != quinn::TransportErrorCode::crypto(number) {
        return HandshakeError::Lost(lost(error));
    }
    HandshakeError::of_alert(number, by_server).unwrap_or_else(|| HandshakeError::Lost(lost(error)))
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
