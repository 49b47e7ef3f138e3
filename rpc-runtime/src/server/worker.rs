//! A worker of a lane: cuts a message, decodes it in place, runs its handler, queues the reply.

use std::sync::Arc;

use crate::server::buffers::WorkerBuffers;
use crate::server::connection::ServerConnection;
use crate::server::recv::{MessageReader, Receiver};
use crate::server::request::serve;
use crate::server::stream::{Leave, ServerStream};
use crate::service::Router;
use crate::transport::close;

pub(super) struct Worker<R> {
    connection: Arc<ServerConnection<R>>,
    lane: Arc<ServerStream>,
    seat: usize,
    scratch: WorkerBuffers,
}

impl<R: Router> Worker<R> {
    /// Starts a worker that leads.
    pub(super) fn start(
        connection: Arc<ServerConnection<R>>,
        lane: Arc<ServerStream>,
        reader: Box<Receiver>,
    ) {
        let mut worker = Self {
            seat: lane.sit(),
            scratch: connection.scratch(),
            connection,
            lane,
        };
        // The task has one worker in it, where a method by value would have two.
        tokio::spawn(async move {
            let _kill = ResetOnPanic(Arc::clone(&worker.lane));
            if let Leave::Over = worker.run(reader).await {
                worker.connection.put_back(worker.scratch, &worker.lane);
            }
        });
    }

    async fn run(&mut self, mut reader: Box<Receiver>) -> Leave {
        loop {
            self.lead(reader).await;
            self.connection.quiet().disturb();
            reader = match self.lane.rest(self.seat).await {
                Ok(reader) => reader,
                Err(leave) => return leave,
            };
        }
    }

    /// Serves one message after the other, until one has to wait or the stream ends.
    async fn lead(&mut self, reader: Box<Receiver>) {
        let mut turn = Some(reader);
        // One permit serves for all messages that are already here.
        let mut permit = None;
        while let Some(reader) = &mut turn {
            self.scratch.message.clear();
            let leader = MessageReader {
                connection: &*self.connection,
                lane: &self.lane,
                seat: Some(self.seat),
            };
            let next = leader.next_message(reader, &mut self.scratch, &mut permit);
            match next.await {
                Ok(Some(cut)) => {
                    let Self {
                        connection,
                        lane,
                        scratch,
                        ..
                    } = self;
                    let reply = serve(connection, lane, scratch, cut, &mut turn, &mut permit).await;
                    let is_full = lane.push(reply);
                    if scratch.exchange.is_used() {
                        permit = None;
                        lane.flush().await;
                        lane.be_impatient();
                    } else if is_full {
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
}

/// Panics of handlers are caught in [`answer`](super::answer). Should a worker panic all the same, those who wait on the
/// lane must not be left without an end.
struct ResetOnPanic(Arc<ServerStream>);

impl Drop for ResetOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up(close::CANCELLED);
        }
    }
}
