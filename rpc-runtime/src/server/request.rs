//! One message from its bytes to its reply.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::lines::Line;
use crate::codec::parser::ParseError;
use crate::codec::reply::Reply;
use crate::codec::request::Message;
use crate::codec::response::leading_id;
use crate::server::admit::admit;
use crate::server::batch;
use crate::server::buffers::WorkerBuffers;
use crate::server::connection::{Permit, ServerConnection};
use crate::server::invoke::answer;
use crate::server::recv::Receiver;
use crate::server::stream::ServerStream;
use crate::server::streaming;
use crate::service::Router;

/// Serves the message in `scratch` and returns its reply, which is empty if there is none.
///
/// `turn` is the reading half of the stream, if this worker leads: it goes to another worker as soon as the message has
/// to wait.
pub(super) async fn serve<'s, R: Router>(
    connection: &Arc<ServerConnection<R>>,
    lane: &Arc<ServerStream>,
    scratch: &'s mut WorkerBuffers,
    cut: Line,
    turn: &mut Option<Box<Receiver>>,
    permit: &mut Option<Permit>,
) -> &'s [u8] {
    let WorkerBuffers {
        message,
        parser,
        reply,
        context,
        batch,
        exchange,
        ..
    } = scratch;
    exchange.clear();
    let exchange = &*exchange;
    if cut == Line::TooLarge {
        let id = leading_id(message).map_or(Id::Null, Id::Unsigned);
        return refuse(reply, id, ProtocolError::RequestTooLarge);
    }
    let document = match parser.parse_request(message) {
        Ok(document) => document,
        Err(ParseError { id }) => {
            return refuse(
                reply,
                id.map_or(Id::Null, Id::Unsigned),
                ProtocolError::Parse,
            );
        }
    };
    match document.message() {
        Message::Single(request) => {
            if let Some(call) = admit(connection, lane, request, reply) {
                match obtain(connection, lane, turn, permit, call.deadline).await {
                    Ok(()) => {
                        // Without a stream there is no way for items.
                        let items = turn.is_some().then_some(exchange);
                        let work = pin!(answer(connection, lane, call, context, reply, items));
                        streaming::run(work, connection, lane, turn, permit, exchange).await;
                    }
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            reply.bytes()
        }
        Message::Batch(entries) => {
            // One that comes during the shutdown needs no permit: none of its entries will run.
            let permitted = match connection.is_draining() {
                true => Ok(()),
                false => obtain(connection, lane, turn, permit, None).await,
            };
            match permitted {
                Ok(()) => {
                    let work = pin!(batch::serve(connection, lane, entries, batch));
                    streaming::run(work, connection, lane, turn, permit, exchange).await;
                }
                Err(refusal) => batch.refuse(refusal),
            }
            batch.reply()
        }
    }
}

fn refuse<'r>(reply: &'r mut Reply, id: Id<'_>, refusal: ProtocolError) -> &'r [u8] {
    reply.begin(Some(id));
    reply.refuse(refusal);
    reply.bytes()
}

/// Sees to it that there is a permit and that not too many replies wait, or says what to answer instead. While it waits it
/// sends what is queued, and notices when the other side gives up the stream.
async fn obtain<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    turn: &mut Option<Box<Receiver>>,
    permit: &mut Option<Permit>,
    deadline: Option<Instant>,
) -> Result<(), ProtocolError> {
    if connection.backlog().is_full() {
        *permit = None;
    } else if permit.is_none() {
        *permit = connection.try_permit();
    }
    let is_refused = permit.is_none() && connection.limits().refuse_calls;
    if is_refused && !connection.backlog().is_full() && !connection.is_draining() {
        return Err(ProtocolError::TooManyCalls);
    }
    if permit.is_none()
        && let Some(reader) = turn
    {
        lane.flush_while_wanted(reader).await;
        if lane.is_killed() {
            return Err(ProtocolError::Cancelled);
        }
        tokio::select! {
            obtained = connection.wait_for_permit() => *permit = obtained,
            () = late(deadline) => return Err(ProtocolError::DeadlinePassed),
            () = lane.stopped() => lane.kill(),
            () = reader.recv.was_reset() => lane.kill(),
        }
    }
    if permit.is_some() {
        Ok(())
    } else {
        Err(ProtocolError::ShuttingDown)
    }
}

async fn late(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
