//! The reading half of a stream: its messages, one by one, and each in time.

use bytes::Bytes;

use super::connection::{Connection, Permit};
use super::lane::Lane;
use super::patience::Patience;
use crate::service::Router;
use crate::transport::{RecvStream, StreamLost, close};
use crate::wire::frame::{Cut, Framer};

/// The reading half, in the hands of the leader.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) recv: RecvStream,
    framer: Framer,
    /// Whether anything has come at all.
    has_begun: bool,
    patience: Patience,
}

impl Reader {
    pub(super) fn new(recv: RecvStream, limit: usize) -> Self {
        Self {
            recv,
            framer: Framer::new(limit),
            has_begun: false,
            patience: Patience::default(),
        }
    }

    /// Cuts the next message, behind the part of it that `message` may have; `None` at the end of the stream. Before it
    /// waits for one, it gives the permit back and sends what is queued.
    pub(super) async fn next_message<R: Router>(
        &mut self,
        connection: &Connection<R>,
        lane: &Lane,
        message: &mut Vec<u8>,
        permit: &mut Option<Permit>,
    ) -> Result<Option<Cut>, StreamLost> {
        loop {
            if lane.is_killed() {
                return Err(StreamLost::Stopped(close::CANCELLED.into()));
            }
            match self.framer.cut(message) {
                Cut::Partial => {}
                cut => {
                    self.patience.renew();
                    return Ok(Some(cut));
                }
            }
            *permit = None;
            lane.flush_while_wanted(self).await;
            match self.read(connection, lane, message.is_empty()).await? {
                Some(chunk) => self.framer.feed(chunk),
                None => return Ok(self.framer.finish(message)),
            }
        }
    }

    /// The next bytes. A stream that owes some has to come with them in time.
    async fn read<R: Router>(
        &mut self,
        connection: &Connection<R>,
        lane: &Lane,
        owes_nothing: bool,
    ) -> Result<Option<Bytes>, StreamLost> {
        let Self {
            recv,
            has_begun,
            patience,
            ..
        } = self;
        let limits = connection.limits();
        let limit = match *has_begun {
            false => limits.first_byte_timeout,
            true if !owes_nothing => limits.message_timeout,
            true => {
                patience.renew();
                return read_at_leisure(recv, lane).await;
            }
        };
        let read = tokio::select! {
            biased;
            read = read_at_leisure(recv, lane) => read?,
            () = patience.run_out(limit) => {
                recv.stop(close::TIMEOUT);
                lane.give_up(close::TIMEOUT);
                if *has_begun {
                    connection.conduct().message_was_late();
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
}

async fn read_at_leisure(recv: &mut RecvStream, lane: &Lane) -> Result<Option<Bytes>, StreamLost> {
    if lane.is_quiet() {
        return recv.read_chunk().await;
    }
    // Others are at work, and the caller may lose interest in what they do.
    tokio::select! {
        chunk = recv.read_chunk() => chunk,
        () = lane.stopped() => Err(StreamLost::Stopped(close::CANCELLED.into())),
    }
}
