//! The receiving half of a stream: receives messages and enforces their timeouts.

use std::sync::Arc;

use tokio::task::coop;

use crate::call_defaults::CallDefaults;
use crate::codec::error_code::FullBudget;
use crate::codec::lines::{Line, LineSplitter};
use crate::limits::Limits;
use crate::server::limits::timeouts::ReadTimeout;
use crate::transport::{RecvStream, close};

/// The receiving half of a stream. Workers hand it over in a box, since it is large.
#[derive(Debug)]
pub(super) struct Receiver {
    recv: RecvStream,
    splitter: LineSplitter,
    /// A message that was read as an item and is none. It is read again as a request.
    unread: Option<Vec<u8>>,
    /// `true` if any bytes have been received.
    has_begun: bool,
    timeout: ReadTimeout,
    /// Number of bytes received.
    received: u64,
    /// `true` if any bytes were received since the last message.
    is_amid: bool,
}

/// The reason why no more can be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiveError {
    /// The peer reset the stream, or the connection was lost.
    Lost,
    /// Nothing was received in time, and the stream was stopped.
    TimedOut {
        /// `true` if a message had begun.
        in_message: bool,
    },
}

impl Receiver {
    /// Creates a receiver of messages of at most `max_bytes` bytes.
    pub(super) fn new(recv: RecvStream, max_bytes: usize) -> Self {
        Self {
            recv,
            splitter: LineSplitter::new(max_bytes),
            unread: None,
            has_begun: false,
            timeout: ReadTimeout::default(),
            received: 0,
            is_amid: false,
        }
    }

    /// Moves the next message into `message`, after the part that is already there, if all of it has been received.
    pub(super) fn next_line(&mut self, message: &mut Vec<u8>) -> Option<Line> {
        if let Some(unread) = self.unread.take() {
            *message = unread;
            return Some(Line::Message);
        }
        match self.splitter.split_next(message) {
            Line::Partial => None,
            line => {
                self.timeout.renew();
                self.is_amid = false;
                Some(line)
            }
        }
    }

    /// Returns what the calls of the stream have from outside of their requests.
    pub(super) fn defaults(&self) -> Option<&Arc<CallDefaults>> {
        self.recv.defaults()
    }

    /// Returns the ID of the stream; `None` for datagrams.
    pub(super) fn stream_id(&self) -> Option<u64> {
        self.recv.id()
    }

    /// Returns `true` if the last message was put back and will be read again.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Returns the offset in the stream of the first byte after the last message.
    pub(super) fn offset(&self) -> u64 {
        self.received - self.splitter.buffered() as u64
    }

    /// Puts a message back. It is the next message that is read.
    pub(super) fn put_back(&mut self, message: Vec<u8>) {
        self.unread = Some(message);
    }

    /// Discards the message of which `message` is a part.
    pub(super) fn discard(&mut self, message: &mut Vec<u8>, full: FullBudget) {
        self.splitter.discard(message, full);
    }

    /// Returns `true` if the rest of a message is skipped.
    pub(super) fn is_skipping(&self) -> bool {
        self.splitter.is_skipping()
    }

    /// Restarts the timeout of a message, because this side did not receive for some time.
    pub(super) fn renew_timeout(&mut self) {
        self.timeout.renew();
    }

    /// Receives more bytes. Returns `false` at the end of the stream. `message` is the part of a message that was received
    /// before.
    ///
    /// Yields regularly, since blank lines, and the bytes of a large message, may always be ready.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(super) async fn receive(
        &mut self,
        message: &[u8],
        limits: &Limits,
    ) -> Result<bool, ReceiveError> {
        if self.is_amid {
            coop::consume_budget().await;
        }
        let Self {
            recv,
            has_begun,
            timeout,
            ..
        } = self;
        let limit = match *has_begun {
            false => limits.first_byte_timeout,
            true if !message.is_empty() => limits.message_timeout,
            true => {
                timeout.renew();
                let chunk = recv.read_chunk().await;
                return self.received(chunk.map_err(|_| ReceiveError::Lost)?);
            }
        };
        let chunk = tokio::select! {
            biased;
            chunk = recv.read_chunk() => chunk,
            () = timeout.elapsed(limit) => {
                recv.stop(close::TIMEOUT);
                return Err(ReceiveError::TimedOut { in_message: *has_begun });
            }
        };
        self.received(chunk.map_err(|_| ReceiveError::Lost)?)
    }

    fn received(&mut self, chunk: Option<bytes::Bytes>) -> Result<bool, ReceiveError> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.timeout.renew();
        }
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        self.is_amid = true;
        self.received += chunk.len() as u64;
        self.splitter.feed(chunk);
        Ok(true)
    }

    /// Returns the last message at the end of the stream, if `message` holds one.
    pub(super) fn finish(&mut self, message: &[u8]) -> Option<Line> {
        self.splitter.finish(message)
    }

    /// Resolves when the peer resets the stream, or the connection is lost.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub(super) async fn was_reset(&mut self) {
        self.recv.was_reset().await;
    }
}
