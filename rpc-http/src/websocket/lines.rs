//! The lines of a stream, each of which becomes a frame.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use rpc_runtime::gateway::GatewayRecv;

/// The receiving half of a stream of the services, split into lines.
#[derive(Debug)]
pub(super) struct Lines {
    recv: GatewayRecv,
    chunk: Bytes,
    /// The start of a line whose end has not been received yet.
    partial: BytesMut,
}

impl Lines {
    pub(super) fn new(recv: GatewayRecv) -> Self {
        Self {
            recv,
            chunk: Bytes::new(),
            partial: BytesMut::new(),
        }
    }

    /// Receives the next line, without its LF. Returns `None` when the stream has ended, and an error if it has ended early.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            if let Some(end) = memchr(b'\n', &self.chunk) {
                let rest = self.chunk.split_to(end);
                self.chunk.advance(1);
                if self.partial.is_empty() {
                    return Poll::Ready(Some(Ok(rest)));
                }
                self.partial.extend_from_slice(&rest);
                return Poll::Ready(Some(Ok(self.partial.split().freeze())));
            }
            self.partial.extend_from_slice(&self.chunk);
            self.chunk = match ready!(self.recv.poll_recv(cx)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(_)) => return Poll::Ready(Some(Err(Cut))),
                None if self.partial.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Ok(self.partial.split().freeze()))),
            };
        }
    }
}

/// The stream has ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut;
