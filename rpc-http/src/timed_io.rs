//! A connection that ends when its client sends nothing at first, or takes nothing, for too long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The bytes that a client of HTTP/2 sends first (RFC 9113, section 3.4). hyper waits for all of them, or for a byte that differs,
/// without a limit.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limits the times of a connection that hyper does not limit.
#[derive(Debug)]
pub(crate) struct TimedIo<I> {
    io: I,
    /// Set until the client has sent enough to tell the version of HTTP.
    opening: Option<Opening>,
    write_timeout: Duration,
    /// Resolves when the client has taken nothing for too long. Created with the first write that has to wait.
    stall: Option<Pin<Box<Sleep>>>,
    /// `true` while a write waits.
    is_stalled: bool,
}

#[derive(Debug)]
struct Opening {
    /// The number of bytes of the preface that were received.
    received: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Opening {
    /// Records received bytes. Returns `true` if the version is known.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        let expected = &PREFACE[self.received..];
        let count = bytes.len().min(expected.len());
        self.received += count;
        count == 0 || count == expected.len() || bytes[..count] != expected[..count]
    }
}

impl<I> TimedIo<I> {
    /// Limits a new connection. `opening_timeout` is the time until the client has sent enough to tell the version of HTTP.
    /// `write_timeout` is the time for which the client may take nothing.
    pub(crate) fn new(io: I, opening_timeout: Duration, write_timeout: Duration) -> Self {
        Self {
            io,
            opening: Some(Opening {
                received: 0,
                deadline: Box::pin(sleep(opening_timeout)),
            }),
            write_timeout,
            stall: None,
            is_stalled: false,
        }
    }

    /// Limits only the writes of a connection whose client has sent a request.
    #[cfg(feature = "websocket")]
    pub(crate) fn opened(io: I, write_timeout: Duration) -> Self {
        Self {
            io,
            opening: None,
            write_timeout,
            stall: None,
            is_stalled: false,
        }
    }

    /// Returns the result of a write, or an error if the client has taken nothing for too long.
    fn limit<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        let timeout = self.write_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        if !self.is_stalled {
            self.is_stalled = true;
            stall.as_mut().reset(Instant::now() + timeout);
        }
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(timed_out(
            "the client takes nothing (`Limits::write_timeout`)",
        )))
    }
}

pub(crate) fn timed_out(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<I: AsyncRead + Unpin> AsyncRead for TimedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Some(opening) = &mut self.opening {
            match &read {
                Poll::Pending => {
                    ready!(opening.deadline.as_mut().poll(cx));
                    return Poll::Ready(Err(timed_out("no request (`HttpServer::idle_timeout`)")));
                }
                Poll::Ready(_) if opening.is_over(&buf.filled()[before..]) => self.opening = None,
                Poll::Ready(_) => {}
            }
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for TimedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.limit(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.limit(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.limit(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.limit(shut, cx)
    }
}
