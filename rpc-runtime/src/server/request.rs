//! One message from its bytes to its reply: it is parsed in place, waits for its permit, and runs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::Instant;

use crate::codec::envelope::leading_id;
use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::lines::Line;
use crate::codec::parser::{Document, ParseError, Parser};
use crate::codec::reply::Reply;
use crate::codec::request::Message;
use crate::permit::PermitSlot;
use crate::server::batch;
use crate::server::buffers::{ReplyBuffer, WorkerBuffers};
use crate::server::call_task::{CallSite, CallTask};
use crate::server::invoke::{Invocation, passes, prepare, reject};
use crate::server::recv::Receiver;
use crate::server::streaming;
use crate::service::router::Router;
use crate::streaming::exchange::Exchange;

/// Serves the message in the task's buffers, and says which of them holds the answer.
pub(super) async fn serve<R: Router>(task: &mut CallTask<R>, line: Line) -> ReplyBuffer {
    let CallTask {
        site,
        receiver,
        permit,
        buffers,
    } = task;
    let WorkerBuffers {
        message,
        parser,
        reply,
        context,
        batch,
        exchange,
    } = buffers;
    exchange.clear();
    let Some(document) = parse(parser, message, line, reply) else {
        return ReplyBuffer::Single;
    };
    match document.message() {
        Message::Single(request) => {
            let Some(call) = prepare(site, request, reply) else {
                return ReplyBuffer::Single;
            };
            let permitted = match holds_permit(site, permit) {
                true => Ok(()),
                false => obtain_permit(site, receiver, permit, call.deadline).await,
            };
            exchange.set_takes_upload(call.takes_upload);
            match permitted {
                Ok(()) => {
                    let invocation = Invocation {
                        site,
                        call,
                        permit,
                        // Without a stream there is no way for items.
                        exchange: receiver.is_some().then_some(exchange),
                    };
                    let run = pin!(invocation.run(context, reply));
                    drive(run, site, receiver, permit, exchange).await;
                }
                Err(error) => reply.reject(error),
            }
            ReplyBuffer::Single
        }
        Message::Batch(entries) => {
            match obtain_batch_permit(site, receiver, permit).await {
                Ok(()) => {
                    let run = pin!(batch::serve(site, permit, entries, batch));
                    drive(run, site, receiver, permit, exchange).await;
                }
                Err(error) => batch.reject(error),
            }
            ReplyBuffer::Batch
        }
    }
}

/// Parses a message in place; `None` if `reply` says why it cannot be parsed.
fn parse<'p, 'de>(
    parser: &'p mut Parser,
    message: &'de mut Vec<u8>,
    line: Line,
    reply: &mut Reply,
) -> Option<Document<'p, 'de>> {
    if line == Line::TooLarge {
        let id = leading_id(message).map_or(Id::Null, Id::Unsigned);
        reject(reply, id, ProtocolError::RequestTooLarge);
        return None;
    }
    match parser.parse_request(message) {
        Ok(document) => Some(document),
        Err(ParseError { id }) => {
            let id = id.map_or(Id::Null, Id::Unsigned);
            reject(reply, id, ProtocolError::Parse);
            None
        }
    }
}

/// Obtains a permit for a batch. During a shutdown it needs none, since none of its entries will run.
async fn obtain_batch_permit<R: Router>(
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    permit: &mut PermitSlot,
) -> Result<(), ProtocolError> {
    match site.connection.is_draining() {
        true => Ok(()),
        false => obtain_permit(site, receiver, permit, None).await,
    }
}

/// Whether the permit of the message before serves for this one, too.
fn holds_permit<R: Router>(site: &CallSite<R>, permit: &mut PermitSlot) -> bool {
    permit.is_held() && !site.connection.send_budget().is_full()
}

/// Obtains a permit, or returns what to answer instead. While the call waits, what is queued is sent, and a reset of the
/// stream is noticed.
async fn obtain_permit<R: Router>(
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    permit: &mut PermitSlot,
    deadline: Option<Instant>,
) -> Result<(), ProtocolError> {
    let CallSite {
        connection, stream, ..
    } = site;
    let is_congested = connection.send_budget().is_full();
    if is_congested {
        permit.release();
    } else if permit.is_held() {
        return Ok(());
    } else if let Some(free) = connection.try_permit() {
        permit.put(Some(free));
        return Ok(());
    }
    if connection.limits().refuse_calls && !is_congested && !connection.is_draining() {
        return Err(ProtocolError::TooManyCalls);
    }
    let Some(receiver) = receiver else {
        return Err(match connection.is_draining() {
            true => ProtocolError::ShuttingDown,
            // Without a stream the call cannot wait.
            false => ProtocolError::TooManyCalls,
        });
    };
    stream.flush_while_receiving(receiver).await;
    if stream.is_reset() {
        return Err(ProtocolError::Cancelled);
    }
    tokio::select! {
        obtained = connection.wait_for_permit() => if obtained.is_some() {
            permit.put(obtained);
            return Ok(());
        },
        () = passes(deadline) => return Err(ProtocolError::DeadlinePassed),
        () = stream.stopped() => stream.reset(),
        () = receiver.was_reset() => stream.reset(),
    }
    Err(ProtocolError::ShuttingDown)
}

/// Polls a call or a batch to its end. If it is not done at its first poll, the receiver is handed over to another worker,
/// unless the handler has items: that is a path of its own.
async fn drive<R: Router>(
    mut run: Pin<&mut impl Future<Output = ()>>,
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    permit: &PermitSlot,
    exchange: &Exchange,
) {
    let has_items = poll_fn(|cx| match run.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending if exchange.is_used() => Poll::Ready(true),
        Poll::Pending if exchange.awaits_upload() => {
            // The rest of the stream is for this call. So no other worker notices that the stream is reset.
            if let Some(receiver) = receiver
                && pin!(receiver.was_reset()).poll(cx).is_ready()
            {
                site.stream.reset();
            }
            Poll::Pending
        }
        Poll::Pending => {
            site.hand_over(receiver);
            Poll::Pending
        }
    });
    let has_items = has_items.await;
    if !exchange.is_used() {
        return;
    }
    // The worker ends this when the reply has left.
    site.stream.begin_streaming();
    if has_items {
        // Boxed, since few calls need the space.
        Box::pin(streaming::run(run, site, receiver, permit, exchange)).await;
    }
    streaming::end_receiving(site, receiver, exchange);
}
