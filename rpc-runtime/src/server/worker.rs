//! A worker of a stream: receives a message, serves it, and queues the reply.

use std::sync::Arc;

use crate::codec::lines::Line;
use crate::permit::PermitSlot;
use crate::server::call_task::{CallSite, CallTask};
use crate::server::connection::ServerConnection;
use crate::server::recv::{ReceiveError, Receiver};
use crate::server::request::{serve_large, serve_small};
use crate::server::stream::{Interruption, ServerStream, WorkerExit};
use crate::service::router::Router;
use crate::transport::close;

struct Worker<R> {
    task: CallTask<R>,
    slot: usize,
}

/// Starts a worker that holds the receiver of `stream`.
pub(super) fn start<R: Router>(
    connection: Arc<ServerConnection<R>>,
    stream: Arc<ServerStream>,
    receiver: Box<Receiver>,
) {
    let mut buffers = connection.worker_buffers();
    buffers.context.set_defaults(receiver.defaults());
    let mut worker = Worker {
        slot: stream.enter_worker(),
        task: CallTask {
            buffers,
            site: CallSite {
                connection,
                stream,
                message_end: 0,
                defaults: receiver.defaults().cloned(),
            },
            receiver: Some(receiver),
            permit: PermitSlot::default(),
        },
    };
    // An async block holds the worker once in its task; a method that takes `self` would hold it twice.
    tokio::spawn(async move {
        let _reset = ResetOnPanic(Arc::clone(&worker.task.site.stream));
        if let WorkerExit::Over = worker.run().await {
            let CallTask { site, buffers, .. } = worker.task;
            site.connection.worker_ended(buffers, &site.stream);
        }
    });
}

impl<R: Router> Worker<R> {
    async fn run(&mut self) -> WorkerExit {
        loop {
            self.serve_messages().await;
            let CallSite {
                connection, stream, ..
            } = &self.task.site;
            connection.idle().record_activity();
            match stream.park(self.slot).await {
                Ok(receiver) => self.task.receiver = Some(receiver),
                Err(leave) => return leave,
            }
        }
    }

    /// Serves messages in turn while this worker holds the receiver.
    async fn serve_messages(&mut self) {
        // One permit is used for all messages that have already arrived.
        while let Some(line) = self.next_message().await {
            let answer = match self.task.buffers.is_message_small() {
                true => serve_small(&mut self.task, line).await,
                false => serve_large(&mut self.task, line).await,
            };
            let CallTask {
                site,
                receiver,
                permit,
                buffers,
            } = &mut self.task;
            let is_full = site.stream.push(buffers.reply(answer));
            if buffers.exchange.is_used() {
                permit.release();
                site.stream.flush().await;
                site.stream.end_streaming();
            } else if is_full {
                // A waiting worker holds no permit that other calls could use.
                permit.release();
                buffers.release_large(answer, site.connection.memory());
                match receiver {
                    Some(receiver) => site.stream.flush_while_receiving(receiver).await,
                    None => site.stream.flush().await,
                }
            }
            buffers.release_large(answer, site.connection.memory());
            tokio::task::coop::consume_budget().await;
        }
        // A peer that does not read its replies must not prevent other calls from running.
        self.task.permit.release();
        self.task.site.stream.flush().await;
    }

    /// Receives the next message into the task's buffers. Returns `None` once this worker no longer holds the receiver, or
    /// the stream has ended. Before it waits, it releases the permit and sends queued replies.
    async fn next_message(&mut self) -> Option<Line> {
        let CallTask {
            site,
            receiver: held,
            permit,
            buffers,
        } = &mut self.task;
        let receiver = held.as_mut()?;
        if !receiver.has_unread() {
            site.stream.in_flight.record_processed(receiver.offset());
        }
        buffers.message.clear();
        loop {
            if site.stream.is_reset() {
                site.stream.reset();
                break;
            }
            if let Some(line) = receiver.next_line(&mut buffers.message) {
                site.message_end = receiver.offset();
                return Some(line);
            }
            permit.release();
            buffers.recount_large();
            site.stream.flush_while_receiving(receiver).await;
            let received = tokio::select! {
                biased;
                received = site.receive(receiver, &mut buffers.message) => received,
                interruption = site.stream.interruption(self.slot) => match interruption {
                    Interruption::Idle => {
                        buffers.release_idle();
                        continue;
                    }
                    Interruption::Stopped => Err(ReceiveError::Lost),
                },
            };
            match received {
                Ok(true) => {}
                Ok(false) => match receiver.finish(&buffers.message) {
                    Some(line) => {
                        site.message_end = receiver.offset();
                        return Some(line);
                    }
                    None => {
                        site.stream.end();
                        break;
                    }
                },
                Err(error) => {
                    site.reset_after(error);
                    break;
                }
            }
        }
        *held = None;
        None
    }
}

/// Resets the stream if a worker panics, so that its calls end. The panics of handlers are caught by
/// [`invoke`](super::invoke).
struct ResetOnPanic(Arc<ServerStream>);

impl Drop for ResetOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.reset_with(close::CANCELLED);
        }
    }
}
