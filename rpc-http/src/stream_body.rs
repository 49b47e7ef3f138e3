//! The body that carries the server's half of a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use rpc_runtime::gateway::{GatewayRecv, StreamError};
use thiserror::Error;
use tokio::time::sleep;

use crate::held_reply::NotTaken;
use crate::pump::Pump;
use crate::session::RequestConnection;
use crate::sse::EventWriter;

/// The code of a response that the client did not take in time (section 8.2 of `PROTOCOL.md`).
const TIMEOUT: u32 = 0x14;

/// The time for which a client of HTTP/1.1 may still send after the server's half has ended. After that the connection is
/// closed, and the client may lose the end of the response.
const LINGER: Duration = Duration::from_secs(1);

/// The server's half of a stream, and the task and the session that must live as long as it.
pub(crate) struct StreamBody {
    recv: GatewayRecv,
    /// Sends the client's half, if it has one.
    pump: Option<Pump>,
    /// `None` if lines are sent as they are.
    events: Option<EventWriter>,
    linger: Linger,
    _connection: RequestConnection,
}

/// The behaviour when the server's half ends before the client's.
enum Linger {
    /// The body ends at once, which ends the client's half.
    No,
    /// The body ends after [`LINGER`].
    Http1,
    /// The body ends when this resolves. The rest of the client's half is still sent afterwards.
    Until(LingerEnd),
    /// The server's half has ended, and the client's is still sent.
    Now {
        until: LingerEnd,
        may_continue: bool,
    },
}

pub(crate) type LingerEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

impl StreamBody {
    /// Creates the body that carries a stream of the client.
    pub(crate) fn new(
        recv: GatewayRecv,
        pump: Pump,
        version: Version,
        connection: RequestConnection,
    ) -> Self {
        let linger = match version {
            Version::HTTP_11 => Linger::Http1,
            _ => Linger::No,
        };
        Self::with(recv, Some(pump), linger, connection)
    }

    /// Creates the body that carries a stream of the server. It ends when `until` resolves, if the client's half has not ended
    /// before: most intermediaries end a request when its response has ended.
    pub(crate) fn accepted(
        recv: GatewayRecv,
        pump: Option<Pump>,
        until: LingerEnd,
        connection: RequestConnection,
    ) -> Self {
        Self::with(recv, pump, Linger::Until(until), connection)
    }

    fn with(
        recv: GatewayRecv,
        pump: Option<Pump>,
        linger: Linger,
        connection: RequestConnection,
    ) -> Self {
        Self {
            recv,
            pump,
            events: None,
            linger,
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
        if !matches!(self.linger, Linger::Now { .. }) {
            match self.recv.poll_recv(cx)? {
                Poll::Ready(Some(chunk)) => {
                    let chunk = match &mut self.events {
                        Some(events) => events.write(&chunk),
                        None => chunk,
                    };
                    return Poll::Ready(Some(Ok(chunk)));
                }
                Poll::Ready(None) => {
                    let (until, may_continue): (LingerEnd, bool) =
                        match std::mem::replace(&mut self.linger, Linger::No) {
                            Linger::Http1 => (Box::pin(sleep(LINGER)), false),
                            Linger::Until(until) => (until, true),
                            Linger::No | Linger::Now { .. } => return Poll::Ready(None),
                        };
                    self.linger = Linger::Now {
                        until,
                        may_continue,
                    };
                }
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
        let pump = self.pump.as_mut();
        if pump.is_none_or(|pump| pump.poll_done(cx).is_ready()) {
            return Poll::Ready(());
        }
        if let Linger::Now {
            until,
            may_continue,
        } = &mut self.linger
        {
            ready!(until.as_mut().poll(cx));
            if *may_continue && let Some(pump) = self.pump.take() {
                pump.detach();
            }
        }
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
#[error("{reason}")]
pub struct BodyError {
    reason: BodyEnd,
    #[source]
    reset: h2::Error,
}

#[derive(Debug, Error)]
enum BodyEnd {
    #[error("{0}")]
    Stream(StreamError),
    #[error("the client did not take the response in time (`Limits::write_timeout`)")]
    NotTaken,
}

impl From<NotTaken> for BodyError {
    fn from(NotTaken: NotTaken) -> Self {
        Self {
            reason: BodyEnd::NotTaken,
            reset: h2::Reason::from(TIMEOUT).into(),
        }
    }
}

impl From<StreamError> for BodyError {
    fn from(stream: StreamError) -> Self {
        let code = stream.code().and_then(|code| u32::try_from(code).ok());
        let reason = code.map_or(h2::Reason::INTERNAL_ERROR, h2::Reason::from);
        Self {
            reason: BodyEnd::Stream(stream),
            reset: reason.into(),
        }
    }
}
