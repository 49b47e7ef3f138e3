//! The reading half of a stream: its messages, one by one, and each in time.

use bytes::Bytes;

use crate::codec::lines::{Line, LineSplitter};
use crate::server::buffers::WorkerBuffers;
use crate::server::connection::{Permit, ServerConnection};
use crate::server::limits::timeouts::ReadTimeout;
use crate::server::stream::{Interruption, ServerStream};
use crate::service::Router;
use crate::transport::{RecvStream, StreamLost, close};

/// The reading half, in the hands of the leader. It goes from one to the other in a box: it is large.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) recv: RecvStream,
    framer: LineSplitter,
    /// A message that somebody has read who has no use for it.
    unread: Option<Vec<u8>>,
    /// Whether anything has come at all.
    has_begun: bool,
    patience: ReadTimeout,
}

impl Receiver {
    pub(super) fn new(recv: RecvStream, limit: usize) -> Self {
        Self {
            recv,
            framer: LineSplitter::new(limit),
            unread: None,
            has_begun: false,
            patience: ReadTimeout::default(),
        }
    }

    /// Leaves a message to whoever reads next.
    pub(super) fn put_back(&mut self, message: Vec<u8>) {
        self.unread = Some(message);
    }
}

/// Who reads, and what it looks after meanwhile.
pub(super) struct MessageReader<'l, R> {
    pub(super) connection: &'l ServerConnection<R>,
    pub(super) lane: &'l ServerStream,
    /// Its place in the lane, if it is to hear there that it has long been quiet.
    pub(super) seat: Option<usize>,
}

/// Where a message goes.
pub(super) trait MessageBuffer {
    fn message(&mut self) -> &mut Vec<u8>;

    /// Gives back what it has no use for while nothing comes.
    fn rest(&mut self) {}
}

impl MessageBuffer for WorkerBuffers {
    fn message(&mut self) -> &mut Vec<u8> {
        &mut self.message
    }

    fn rest(&mut self) {
        WorkerBuffers::rest(self);
    }
}

impl MessageBuffer for Vec<u8> {
    fn message(&mut self) -> &mut Vec<u8> {
        self
    }
}

impl<R: Router> MessageReader<'_, R> {
    /// Cuts the next message, behind the part of it that may have come; `None` at the end of the stream. Before it waits
    /// for one, it gives the permit back and sends what is queued.
    pub(super) async fn next_message(
        &self,
        reader: &mut Receiver,
        inbox: &mut impl MessageBuffer,
        permit: &mut Option<Permit>,
    ) -> Result<Option<Line>, StreamLost> {
        if let Some(message) = reader.unread.take() {
            *inbox.message() = message;
            return Ok(Some(Line::Message));
        }
        loop {
            if self.lane.is_killed() {
                return Err(StreamLost::Stopped(close::CANCELLED.into()));
            }
            match reader.framer.cut(inbox.message()) {
                Line::Partial => {}
                cut => {
                    reader.patience.renew();
                    return Ok(Some(cut));
                }
            }
            *permit = None;
            // Whoever reads items may be dropped, and must not take a half-written reply with it.
            if self.seat.is_some() {
                self.lane.flush_while_wanted(reader).await;
            }
            match self.read(reader, inbox).await? {
                Some(chunk) => {
                    self.connection.quiet().disturb();
                    reader.framer.feed(chunk);
                }
                None => return Ok(reader.framer.finish(inbox.message())),
            }
        }
    }

    /// The next bytes. A stream that owes some has to come with them in time.
    async fn read(
        &self,
        reader: &mut Receiver,
        inbox: &mut impl MessageBuffer,
    ) -> Result<Option<Bytes>, StreamLost> {
        let Receiver {
            recv,
            has_begun,
            patience,
            ..
        } = reader;
        let limits = self.connection.limits();
        let limit = match *has_begun {
            false => limits.first_byte_timeout,
            true if !inbox.message().is_empty() => limits.message_timeout,
            true => {
                patience.renew();
                return self.read_at_leisure(recv, inbox).await;
            }
        };
        let read = tokio::select! {
            biased;
            read = self.read_at_leisure(recv, inbox) => read?,
            () = patience.run_out(limit) => {
                recv.stop(close::TIMEOUT);
                self.lane.give_up(close::TIMEOUT);
                if *has_begun {
                    self.connection.conduct().message_was_late();
                }
                return Err(StreamLost::Stopped(close::TIMEOUT.into()));
            }
        };
        if !*has_begun {
            *has_begun = true;
            patience.renew();
        }
        Ok(read)
    }

    async fn read_at_leisure(
        &self,
        recv: &mut RecvStream,
        inbox: &mut impl MessageBuffer,
    ) -> Result<Option<Bytes>, StreamLost> {
        let Some(seat) = self.seat else {
            return recv.read_chunk().await;
        };
        loop {
            tokio::select! {
                biased;
                chunk = recv.read_chunk() => return chunk,
                interruption = self.lane.interruption(seat) => match interruption {
                    Interruption::IdleWatch => inbox.rest(),
                    Interruption::Stopped => {
                        return Err(StreamLost::Stopped(close::CANCELLED.into()));
                    }
                },
            }
        }
    }
}
