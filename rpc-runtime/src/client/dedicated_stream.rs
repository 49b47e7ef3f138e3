//! A stream for one message. A large call delays no other calls, and dropping the call resets its stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::coop;
use tokio::time::Instant;

use crate::client::connection::ClientConnection;
use crate::client::error::{CallFailure, Execution};
use crate::client::mux_stream::CallId;
use crate::client::streaming::request::{self, BoxedUpload};
use crate::codec::lines::{Line, LineSplitter};
use crate::codec::reply_id::{Addressee, addressee, item_id};
use crate::transport::{ConnectionError, RecvStream, SendStream, StreamLost};

/// A message whose reply arrives on the same stream.
pub(super) struct DedicatedRequest {
    pub(super) connection: Arc<ClientConnection>,
    /// The message with its line feed.
    pub(super) message: Vec<u8>,
    /// The id of the call. A batch has none.
    pub(super) id: Option<CallId>,
    /// Items that follow the message.
    pub(super) upload: Option<BoxedUpload>,
    /// The end of the call's time.
    pub(super) deadline: Option<Instant>,
}

/// Returns the end of a call's time, shortly before the call's own timer ends, so that a call that waits for a stream ends
/// with an error that says so.
pub(super) fn reported_deadline(remaining: Duration) -> Option<Instant> {
    Instant::now().checked_add(remaining.saturating_sub(Duration::from_millis(2)))
}

/// Sends a request and its items, if any. Returns the line of the reply.
pub(super) async fn call(request: DedicatedRequest) -> Result<Vec<u8>, CallFailure> {
    let DedicatedRequest {
        connection,
        message,
        id,
        upload,
        deadline,
    } = request;
    let (send, mut recv, _permit) = connection.open_dedicated(deadline).await?;
    tokio::select! {
        replied = read_reply(&connection, id, &mut recv) => replied,
        failed = write_request(send, message, id.zip(upload)) => Err(failed),
    }
}

/// Sends a request and its items. Returns only if an item cannot be sent.
async fn write_request(
    mut send: SendStream,
    message: Vec<u8>,
    upload: Option<(CallId, BoxedUpload)>,
) -> CallFailure {
    let written = send.write_chunk(Bytes::from(message)).await;
    match upload {
        Some((id, items)) if written.is_ok() => {
            if let Err(failure) = request::send(items, id, send).await {
                return failure;
            }
        }
        None if written.is_ok() => send.finish(),
        _ => {}
    }
    // The error is ignored, since a server that rejects a request replies before it stops reading.
    std::future::pending().await
}

async fn read_reply(
    connection: &ClientConnection,
    id: Option<CallId>,
    recv: &mut RecvStream,
) -> Result<Vec<u8>, CallFailure> {
    let budget = &connection.budget;
    let mut splitter = LineSplitter::new(budget.reply_limit);
    let mut reply = Vec::new();
    let mut charge = budget.stream();
    let mut has_other_lines = false;
    loop {
        let line = match splitter.split_next(&mut reply) {
            // The rest of the reply may be endless.
            Line::Partial if splitter.is_skipping() => Line::TooLarge,
            Line::Partial => {
                if !budget.count(&mut charge, &reply) {
                    charge.go_on(Arc::clone(budget).room(reply.capacity()).await?);
                }
                let read = recv.read_chunk().await;
                has_other_lines |= splitter.has_blank_lines();
                let has_part = !reply.is_empty();
                match read
                    .map_err(|lost| unanswered(connection, lost, has_other_lines || has_part))?
                {
                    Some(chunk) => {
                        splitter.feed(chunk);
                        // A server may send blank lines without end.
                        coop::consume_budget().await;
                        continue;
                    }
                    None => splitter.finish(&reply).unwrap_or(Line::Partial),
                }
            }
            line => line,
        };
        match line {
            Line::Message if is_reply(id, &reply)? => return Ok(reply),
            Line::Message => {
                connection.log_unmatched(&reply);
                has_other_lines = true;
                reply.clear();
                coop::consume_budget().await;
            }
            Line::TooLarge | Line::Discarded(_) => return Err(budget.too_large()),
            Line::Partial => {
                // A server that ends a stream without any line has replied to every call that it executed, and is shutting
                // down.
                let reason = ConnectionError::drained("the stream ended without a reply");
                return Err(unanswered(connection, reason.into(), has_other_lines));
            }
        }
    }
}

/// Returns `true` if a line is the reply, and `false` if it is a request or a notification. Returns an error if it belongs to
/// another call: the server will send no other reply.
fn is_reply(id: Option<CallId>, line: &[u8]) -> Result<bool, CallFailure> {
    match (addressee(line), id) {
        (Addressee::None, _) if item_id(line).is_some() => {
            Err(CallFailure::UnexpectedItem(CallFailure::excerpt(line)))
        }
        (Addressee::None, _) => Ok(false),
        (Addressee::Call(found), Some(CallId(id))) if found != id => {
            Err(CallFailure::OtherReply(CallFailure::excerpt(line)))
        }
        _ => Ok(true),
    }
}

/// Sends a message that has no reply, and waits until the transport has accepted it.
pub(super) async fn notify(
    connection: Arc<ClientConnection>,
    message: Vec<u8>,
) -> Result<(), CallFailure> {
    let opened = connection.transport.open_uni().await;
    let mut send =
        opened.map_err(|lost| lost_call(&connection, Execution::NotSent, lost.into()))?;
    let written = send.write_chunk(Bytes::from(message)).await;
    // The server never executes a partial message.
    written.map_err(|lost| lost_call(&connection, Execution::NotExecuted, lost))?;
    send.finish();
    Ok(())
}

/// Returns the failure of a call whose stream was lost.
pub(super) fn lost_call(
    connection: &ClientConnection,
    execution: Execution,
    lost: StreamLost,
) -> CallFailure {
    retire_lost(connection, &lost);
    CallFailure::lost(execution, &lost.into())
}

/// Returns the failure of a call that was sent and whose stream was lost. `has_other_lines` is `true` if a line or a part of
/// one was received that answers no call.
pub(super) fn unanswered(
    connection: &ClientConnection,
    lost: StreamLost,
    has_other_lines: bool,
) -> CallFailure {
    retire_lost(connection, &lost);
    CallFailure::unanswered(&lost.into(), has_other_lines)
}

/// Lets later calls avoid a connection that was lost.
fn retire_lost(connection: &ClientConnection, lost: &StreamLost) {
    if let StreamLost::Connection(_) = lost {
        connection.retire();
    }
}
