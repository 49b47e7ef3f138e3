//! The receiving half of a stream: one message after the other, each in time.

use tokio::task::coop;

use crate::codec::lines::{Line, LineSplitter};
use crate::limits::Limits;
use crate::server::limits::timeouts::ReadTimeout;
use crate::transport::{RecvStream, close};

/// The receiving half of a stream. Workers hand it over in a box, since it is large.
#[derive(Debug)]
pub(super) struct Receiver {
    recv: RecvStream,
    splitter: LineSplitter,
    /// A message that was read as an item and is none: it is read again as a request.
    unread: Option<Vec<u8>>,
    /// Whether any bytes have been received.
    has_begun: bool,
    timeout: ReadTimeout,
    /// How many bytes have been received.
    received: u64,
    /// Whether any were received since the last message.
    is_amid: bool,
}

/// Why no more can be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiveError {
    /// The peer has reset the stream, or the connection is lost.
    Lost,
    /// Nothing was received in time, and the peer was told so.
    TimedOut {
        /// Whether a message had begun.
        in_message: bool,
    },
}

impl Receiver {
    /// A receiver of messages of at most `max_bytes`.
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

    /// Moves the next message into `message`, behind the part of it that is there, if all of it has been received.
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

    /// The ID of the stream; `None` for datagrams.
    pub(super) fn stream_id(&self) -> Option<u64> {
        self.recv.id()
    }

    /// Whether the last message was put back, and is read again.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// The offset in the stream of the byte behind the last message.
    pub(super) fn offset(&self) -> u64 {
        self.received - self.splitter.buffered() as u64
    }

    /// Puts a message back, to be read next.
    pub(super) fn put_back(&mut self, message: Vec<u8>) {
        self.unread = Some(message);
    }

    /// Discards the message of which `message` is a part.
    pub(super) fn discard(&mut self, message: &mut Vec<u8>) {
        self.splitter.discard(message);
    }

    /// Whether the rest of a message is skipped.
    pub(super) fn is_skipping(&self) -> bool {
        self.splitter.is_skipping()
    }

    /// Restarts the timeout of a message: for a time, this side did not receive.
    pub(super) fn renew_timeout(&mut self) {
        self.timeout.renew();
    }

    /// Receives more bytes; `false` at the end of the stream. `message` is the part of a message that is there. Yields now and
    /// then: of blank lines, and of a large message, there may always be more.
    ///
    /// Cancel safe.
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

    /// At the end of the stream: what `message` holds is the last message, if it is one.
    pub(super) fn finish(&mut self, message: &[u8]) -> Option<Line> {
        self.splitter.finish(message)
    }

    /// Resolves when the peer resets the stream, or the connection is lost.
    ///
    /// Cancel safe.
    pub(super) async fn was_reset(&mut self) {
        self.recv.was_reset().await;
    }
}
