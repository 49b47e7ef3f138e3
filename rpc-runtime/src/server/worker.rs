//! A worker of a lane: cuts a message, decodes it in place, runs its handler, queues the reply.

use std::sync::Arc;

use bytes::Bytes;

use super::connection::{Connection, Permit};
use super::lane::{Lane, Reader};
use super::scratch::Scratch;
use super::serve::serve;
use crate::service::Router;
use crate::transport::{RecvStream, StreamLost, close};
use crate::wire::frame::Cut;

pub(super) struct Worker<R> {
    connection: Arc<Connection<R>>,
    lane: Arc<Lane>,
    seat: usize,
    scratch: Scratch,
}

impl<R: Router> Worker<R> {
    /// Starts a worker that leads.
    pub(super) fn start(connection: Arc<Connection<R>>, lane: Arc<Lane>, reader: Reader) {
        let seat = lane.sit();
        let scratch = connection.scratch();
        tokio::spawn(
            Self {
                connection,
                lane,
                seat,
                scratch,
            }
            .run(reader),
        );
    }

    async fn run(mut self, reader: Reader) {
        let _kill = KillOnPanic(Arc::clone(&self.lane));
        let mut turn = Some(reader);
        while let Some(reader) = turn {
            self.lead(reader).await;
            turn = self.lane.rest(self.seat).await;
        }
        self.connection.put_back(self.scratch, &self.lane);
    }

    /// Serves one message after the other, until one has to wait or the stream ends.
    async fn lead(&mut self, reader: Reader) {
        let mut turn = Some(reader);
        // One permit serves for all messages that are already here.
        let mut permit = None;
        while let Some(reader) = &mut turn {
            self.scratch.message.clear();
            match self.next_message(reader, &mut permit).await {
                Ok(Some(cut)) => {
                    let Self {
                        connection,
                        lane,
                        scratch,
                        ..
                    } = self;
                    let reply = serve(connection, lane, scratch, cut, &mut turn, &mut permit).await;
                    if lane.push(reply) {
                        // While it waits, it holds nothing that others could use.
                        permit = None;
                        scratch.shrink();
                        match &mut turn {
                            Some(reader) => self.lane.flush_while_wanted(reader).await,
                            None => self.lane.flush().await,
                        }
                    }
                }
                Ok(None) => {
                    self.lane.end();
                    break;
                }
                Err(_) => {
                    self.lane.kill();
                    break;
                }
            }
            self.scratch.shrink();
            tokio::task::coop::consume_budget().await;
        }
        // A reply that nobody reads must not keep others from being called for.
        drop(permit);
        self.lane.flush().await;
    }

    /// Cuts the next message. Before it waits for one, what is queued is sent.
    async fn next_message(
        &mut self,
        reader: &mut Reader,
        permit: &mut Option<Permit>,
    ) -> Result<Option<Cut>, StreamLost> {
        loop {
            if self.lane.is_killed() {
                return Err(StreamLost::Stopped(close::CANCELLED.into()));
            }
            match reader.framer.cut(&mut self.scratch.message) {
                Cut::Partial => {}
                cut => {
                    reader.patience.renew();
                    return Ok(Some(cut));
                }
            }
            *permit = None;
            self.lane.flush_while_wanted(reader).await;
            match self.read(reader).await? {
                Some(chunk) => reader.framer.feed(chunk),
                None => return Ok(reader.framer.finish(&self.scratch.message)),
            }
        }
    }

    /// The next bytes. A stream that owes some has to come with them in time.
    async fn read(&self, reader: &mut Reader) -> Result<Option<Bytes>, StreamLost> {
        let Reader {
            recv,
            has_begun,
            patience,
            ..
        } = reader;
        let limits = self.connection.limits();
        let limit = match *has_begun {
            false => limits.first_byte_timeout,
            true if !self.scratch.message.is_empty() => limits.message_timeout,
            true => {
                patience.renew();
                return self.read_at_leisure(recv).await;
            }
        };
        let read = tokio::select! {
            biased;
            read = self.read_at_leisure(recv) => read?,
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

    async fn read_at_leisure(&self, recv: &mut RecvStream) -> Result<Option<Bytes>, StreamLost> {
        if self.lane.is_quiet() {
            return recv.read_chunk().await;
        }
        // Others are at work, and the caller may lose interest in what they do.
        tokio::select! {
            chunk = recv.read_chunk() => chunk,
            () = self.lane.stopped() => Err(StreamLost::Stopped(close::CANCELLED.into())),
        }
    }
}

/// Panics of handlers are caught in [`answer`](super::answer). Should a worker panic all the same, those who wait on the
/// lane must not be left without an end.
struct KillOnPanic(Arc<Lane>);

impl Drop for KillOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill();
        }
    }
}
