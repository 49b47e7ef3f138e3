//! The streams that a gateway opens to the services of a server.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use thiserror::Error;

use crate::transport::error::{ConnectionError, StreamLost};
use crate::transport::memory;

/// The reason why a stream of a gateway ended early.
#[derive(Debug, Clone, Error)]
#[error(transparent)]
pub struct StreamError(StreamLost);

impl StreamError {
    /// Returns the code with which the server has ended the stream or the connection, or `None` if there is none. `PROTOCOL.md`
    /// lists the codes.
    pub fn code(&self) -> Option<u64> {
        match self.0 {
            StreamLost::Reset(code) | StreamLost::Stopped(code) => Some(code),
            StreamLost::Connection(ConnectionError::ClosedByPeer { code, .. }) => Some(code),
            StreamLost::Connection(_) => None,
        }
    }
}

/// The half of a stream that carries requests to the server. Dropping it without [`finish`](Self::finish) cancels the calls of
/// the stream.
pub struct GatewaySend(memory::SendStream);

impl GatewaySend {
    pub(crate) fn new(send: memory::SendStream) -> Self {
        Self(send)
    }

    /// Resolves when the server has read enough of the stream to take another chunk.
    ///
    /// # Errors
    /// Returns an error if the server no longer reads the stream.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.0.poll_room(cx).map_err(StreamError)
    }

    /// Sends a chunk. It never waits, so call it only after [`poll_ready`](Self::poll_ready) was ready, for one message or one part
    /// of one. Otherwise the memory that unread chunks take is not bounded.
    pub fn send(&mut self, chunk: Bytes) {
        self.0.put(chunk);
    }

    /// Ends the requests. Their replies still arrive.
    pub fn finish(mut self) {
        self.0.finish();
    }
}

impl fmt::Debug for GatewaySend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewaySend").finish_non_exhaustive()
    }
}

/// The half of a stream that carries replies and items to the client. Dropping it before its end cancels the calls of the
/// stream.
pub struct GatewayRecv(memory::RecvStream);

impl GatewayRecv {
    pub(crate) fn new(recv: memory::RecvStream) -> Self {
        Self(recv)
    }

    /// Returns the ID of the stream.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Receives the next bytes, in order. Returns `None` at the end. The server waits while 64 KiB are not received.
    ///
    /// # Errors
    /// Returns an error if the stream has ended early.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.0
            .poll_chunk(cx)
            .map_err(StreamError)
            .map(Result::transpose)
    }
}

impl fmt::Debug for GatewayRecv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayRecv").finish_non_exhaustive()
    }
}
