//! The body that carries the server's half of a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use rpc_runtime::gateway::{GatewayConnection, GatewayRecv, StreamError};
use thiserror::Error;
use tokio::time::{Sleep, sleep};

use crate::pump::Pump;
use crate::sse::EventWriter;

/// The time for which a client of HTTP/1.1 may still send after the server's half has ended. After that the connection is
/// closed, and the client may lose the end of the response.
const LINGER: Duration = Duration::from_secs(1);

/// The server's half of a stream, with what must live as long as it.
pub(crate) struct StreamBody {
    recv: GatewayRecv,
    /// Sends the client's half.
    pump: Pump,
    /// `None` if lines are sent as they are.
    events: Option<EventWriter>,
    version: Version,
    /// Set when the server's half has ended before the client's.
    linger: Option<Pin<Box<Sleep>>>,
    _connection: Arc<GatewayConnection>,
}

impl StreamBody {
    pub(crate) fn new(
        recv: GatewayRecv,
        pump: Pump,
        version: Version,
        connection: Arc<GatewayConnection>,
    ) -> Self {
        Self {
            recv,
            pump,
            events: None,
            version,
            linger: None,
            _connection: connection,
        }
    }

    /// Sends each line as a server-sent event.
    pub(crate) fn into_events(mut self) -> Self {
        self.events = Some(EventWriter::new());
        self
    }

    /// Returns the next bytes of the body, and `None` at its end.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.linger.is_none() {
            match self.recv.poll_recv(cx)? {
                Poll::Ready(Some(chunk)) => {
                    let chunk = match &mut self.events {
                        Some(events) => events.write(&chunk),
                        None => chunk,
                    };
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(None) if self.version != Version::HTTP_11 => return Poll::Ready(None),
                Poll::Ready(None) => {}
                Poll::Pending => return self.poll_keep_alive(cx).map(|comment| Some(Ok(comment))),
            }
        }
        self.poll_linger(cx).map(|()| None)
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        match &mut self.events {
            Some(events) => events.poll_keep_alive(cx),
            None => Poll::Pending,
        }
    }

    /// Waits for the end of the client's half, for some time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pump.poll_done(cx).is_ready() {
            return Poll::Ready(());
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        ready!(linger.as_mut().poll(cx));
        Poll::Ready(())
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBody").finish_non_exhaustive()
    }
}

/// The server has ended a stream early, so the body must not look complete.
///
/// Its source is an error of HTTP/2 with the code of the stream (section 8.2 of `PROTOCOL.md`), which hyper sends to the client.
#[derive(Debug, Error)]
#[error("{stream}")]
pub struct BodyError {
    stream: StreamError,
    #[source]
    reset: h2::Error,
}

impl From<StreamError> for BodyError {
    fn from(stream: StreamError) -> Self {
        let code = stream.code().and_then(|code| u32::try_from(code).ok());
        let reason = code.map_or(h2::Reason::INTERNAL_ERROR, h2::Reason::from);
        Self {
            stream,
            reset: reason.into(),
        }
    }
}
