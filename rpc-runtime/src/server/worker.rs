//! A worker of a lane: cuts a message, decodes it in place, runs its handler, queues the reply.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::admit::admit;
use super::answer::answer;
use super::batch;
use super::connection::{Connection, Permit};
use super::lane::{Lane, Reader};
use super::scratch::Scratch;
use crate::service::Router;
use crate::transport::{StreamLost, close};
use crate::wire::frame::Cut;
use crate::wire::id::Id;
use crate::wire::refusal::Refusal;
use crate::wire::request::Message;
use crate::wire::response::leading_id;

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
                Ok(Some(Cut::Message)) => self.serve(&mut turn, &mut permit).await,
                Ok(Some(_)) => self.refuse_oversized(),
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
                cut => return Ok(Some(cut)),
            }
            *permit = None;
            self.lane.flush().await;
            match self.read(reader).await? {
                Some(chunk) => reader.framer.feed(chunk),
                None => return Ok(reader.framer.finish(&self.scratch.message)),
            }
        }
    }

    async fn read(&self, reader: &mut Reader) -> Result<Option<bytes::Bytes>, StreamLost> {
        if self.lane.is_quiet() {
            return reader.recv.read_chunk().await;
        }
        // Others are at work, and the caller may lose interest in what they do.
        tokio::select! {
            chunk = reader.recv.read_chunk() => chunk,
            () = self.lane.stopped() => Err(StreamLost::Stopped(close::CANCELLED.into())),
        }
    }

    fn refuse_oversized(&mut self) {
        let Scratch { message, reply, .. } = &mut self.scratch;
        let id = leading_id(message).map_or(Id::Null, Id::Unsigned);
        reply.begin(Some(id));
        reply.refuse(Refusal::RequestTooLarge);
        self.lane.push(reply.bytes());
    }

    async fn serve(&mut self, turn: &mut Option<Reader>, permit: &mut Option<Permit>) {
        let Self {
            connection,
            lane,
            scratch,
            ..
        } = self;
        let Scratch {
            message,
            parser,
            reply,
            context,
            batch,
            ..
        } = scratch;
        let Ok(document) = parser.parse(message) else {
            reply.begin(Some(Id::Null));
            reply.refuse(Refusal::Parse);
            return lane.push(reply.bytes());
        };
        match Message::read(document.root()) {
            Message::Single(value) => {
                if let Some(call) = admit(connection, lane, value, reply) {
                    match obtain(connection, lane, turn, permit, call.deadline).await {
                        Ok(()) => {
                            let work = answer(&**connection, lane, call, context, reply);
                            hand_on_if_pending(work, connection, lane, turn).await;
                        }
                        Err(refusal) => reply.refuse(refusal),
                    }
                }
                lane.push(reply.bytes());
            }
            Message::Batch(entries) => {
                // One that comes during the shutdown needs no permit: none of its entries will run.
                let permitted = match connection.is_draining() {
                    true => Ok(()),
                    false => obtain(connection, lane, turn, permit, None).await,
                };
                match permitted {
                    Ok(()) => {
                        let work = batch::serve(connection, lane, entries, batch);
                        hand_on_if_pending(work, connection, lane, turn).await;
                    }
                    Err(refusal) => batch.refuse(refusal),
                }
                lane.push(batch.reply());
            }
        }
    }
}

/// Panics of handlers are caught while they are polled. One that panics while it is dropped takes its worker along,
/// and must not leave those who wait on the lane without an end.
struct KillOnPanic(Arc<Lane>);

impl Drop for KillOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill();
        }
    }
}

/// Sees to it that there is a permit, or says what to answer instead. While it waits it sends what is queued, and
/// notices when the other side gives up the stream.
async fn obtain<R: Router>(
    connection: &Connection<R>,
    lane: &Lane,
    turn: &mut Option<Reader>,
    permit: &mut Option<Permit>,
    deadline: Option<Instant>,
) -> Result<(), Refusal> {
    if permit.is_none() {
        *permit = connection.try_permit();
    }
    if permit.is_none()
        && let Some(reader) = turn
    {
        let mut gone = pin!(async {
            tokio::select! {
                () = lane.stopped() => {}
                () = reader.recv.was_reset() => {}
            }
        });
        // A write is not to be dropped half-way, unless the stream is.
        tokio::select! {
            () = lane.flush() => {}
            () = &mut gone => {
                lane.kill();
                return Err(Refusal::Cancelled);
            }
        }
        tokio::select! {
            obtained = connection.wait_for_permit() => *permit = obtained,
            () = late(deadline) => return Err(Refusal::DeadlinePassed),
            () = gone => lane.kill(),
        }
    }
    if permit.is_some() {
        Ok(())
    } else {
        Err(Refusal::ShuttingDown)
    }
}

async fn late(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Runs `work`; if it is not done at once, the reading half goes to another worker.
async fn hand_on_if_pending<R: Router>(
    work: impl Future<Output = ()>,
    connection: &Arc<Connection<R>>,
    lane: &Arc<Lane>,
    turn: &mut Option<Reader>,
) {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        if polled.is_pending()
            && let Some(reader) = turn.take().and_then(|reader| lane.hand_on(reader))
        {
            Worker::start(Arc::clone(connection), Arc::clone(lane), reader);
        }
        polled
    })
    .await;
}
