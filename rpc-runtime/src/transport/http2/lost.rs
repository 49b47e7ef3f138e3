//! The reasons why streams and connections over HTTP/2 are lost, as those of QUIC.

use h2::Reason;

use crate::transport::error::{ConnectionError, StreamLost, close};

/// Returns the reason why a stream was lost.
pub(super) fn stream_lost(error: &h2::Error) -> StreamLost {
    match error.reason() {
        // The server has told which requests it has processed, and this one is not among them (RFC 9113, section 6.8).
        Some(_) if error.is_go_away() && error.is_remote() => refused("GOAWAY").into(),
        _ if error.is_go_away() || error.is_io() => connection_lost(error).into(),
        Some(reason) => of_reset(reason),
        // The stream was reset before this side noticed.
        None => StreamLost::Reset(close::CANCELLED.into()),
    }
}

/// Returns the reason why a stream that the server has reset was lost.
pub(super) fn of_reset(reason: Reason) -> StreamLost {
    match reason {
        Reason::NO_ERROR | Reason::CANCEL => StreamLost::Reset(close::CANCELLED.into()),
        Reason::REFUSED_STREAM => refused("REFUSED_STREAM").into(),
        Reason::ENHANCE_YOUR_CALM => ConnectionError::ClosedByPeer {
            code: close::EXCESSIVE_LOAD.into(),
            reason: "ENHANCE_YOUR_CALM".into(),
        }
        .into(),
        // A server of this protocol sends its own codes.
        reason => of_code(reason.into()),
    }
}

/// Returns `true` if the server has reset a stream after its half was complete (RFC 9113, section 8.1).
pub(super) fn is_end(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// Returns `true` for the error of a connection that the server has ended with GOAWAY, without an error.
pub(super) fn is_graceful(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// Returns the reason why the connection was lost.
pub(super) fn connection_lost(error: &h2::Error) -> ConnectionError {
    ConnectionError::Transport(format!("HTTP/2: {error}").escape_debug().to_string())
}

/// Returns the reason for a request that was not sent.
pub(super) fn not_sent(error: &h2::Error) -> StreamLost {
    refused(&error.to_string().escape_debug().to_string()).into()
}

/// Returns the reason for a request that the server has not processed.
fn refused(by: &str) -> ConnectionError {
    ConnectionError::drained(&format!("the server did not process the request: {by}"))
}

/// Returns the reason why a stream was lost, from the code that the server has sent in its place.
pub(super) fn of_code(code: u32) -> StreamLost {
    match code {
        close::SHUTDOWN | close::ABORTED | close::EXCESSIVE_LOAD => ConnectionError::ClosedByPeer {
            code: code.into(),
            reason: String::new(),
        }
        .into(),
        code => StreamLost::Reset(code.into()),
    }
}
