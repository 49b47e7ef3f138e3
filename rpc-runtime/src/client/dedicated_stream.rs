//! A call on a stream of its own: large ones do not hold up those on a lane, and dropping it drops the call.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::connection::ClientConnection;
use crate::client::error::{CallFailure, Fate};
use crate::client::mux_stream::CallId;
use crate::client::streaming::request::{self, BoxedUpload};
use crate::codec::error_code::HEAD;
use crate::codec::lines::{Line, LineSplitter};
use crate::transport::{ConnectionLost, StreamLost};

/// A request with its id, complete with its LF. `request` is what follows the id.
pub(super) fn message(id: CallId, request: &[u8]) -> Vec<u8> {
    [HEAD, id.to_string().as_bytes(), request, b"\n"].concat()
}

/// Sends one message, and items behind it if it has some, and reads the one line that answers it.
pub(super) async fn ask(
    connection: Arc<ClientConnection>,
    request: Vec<u8>,
    upload: Option<(CallId, BoxedUpload)>,
    reply_limit: usize,
) -> Result<Vec<u8>, CallFailure> {
    let opened = connection.open_dedicated().await;
    let (mut send, mut recv, _place) =
        opened.map_err(|lost| ended(&connection, Fate::NotSent, lost.into()))?;
    let mut splitter = LineSplitter::new(reply_limit);
    let mut answer = Vec::new();
    let sending = async {
        let written = send.write_chunk(Bytes::from(request)).await;
        match upload {
            Some((id, items)) if written.is_ok() => {
                request::send(items, id, send).await?;
            }
            None if written.is_ok() => send.finish(),
            _ => {}
        }
        // A server that refuses a request says why before it stops reading.
        std::future::pending::<Result<_, CallFailure>>().await
    };
    let reading = async {
        loop {
            let read = recv.read_chunk().await;
            let chunk = read.map_err(|lost| unanswered(&connection, lost))?;
            let cut = match chunk {
                Some(chunk) => {
                    splitter.feed(chunk);
                    Some(splitter.cut(&mut answer)).filter(|cut| *cut != Line::Partial)
                }
                None => Some(splitter.finish(&answer).unwrap_or(Line::Partial)),
            };
            match cut {
                None => {}
                Some(Line::Message) => return Ok(()),
                Some(Line::TooLarge) => return Err(CallFailure::ReplyTooLarge),
                Some(Line::Partial) => {
                    // A server that ends a stream has answered what it executed, and is shutting down.
                    let reason = ConnectionLost::drained("the stream ended without an answer");
                    return Err(unanswered(&connection, reason.into()));
                }
            }
        }
    };
    tokio::select! {
        read = reading => read?,
        sent = sending => sent?,
    }
    Ok(answer)
}

/// Sends one message that nobody answers, and waits until it has left.
pub(super) async fn tell(
    connection: Arc<ClientConnection>,
    request: Vec<u8>,
) -> Result<(), CallFailure> {
    let opened = connection.transport.open_uni().await;
    let mut send = opened.map_err(|lost| ended(&connection, Fate::NotSent, lost.into()))?;
    let written = send.write_chunk(Bytes::from(request)).await;
    // A message that did not leave whole is no message.
    written.map_err(|lost| ended(&connection, Fate::NotExecuted, lost))?;
    send.finish();
    Ok(())
}

/// What the caller is told; no other call should meet the same end.
pub(super) fn ended(connection: &ClientConnection, fate: Fate, lost: StreamLost) -> CallFailure {
    if let StreamLost::Connection(_) = lost {
        connection.retire();
    }
    let reason = ConnectionLost::from(lost);
    CallFailure::Lost { fate, reason }
}

/// The same, of a call that has left.
fn unanswered(connection: &ClientConnection, lost: StreamLost) -> CallFailure {
    let fate = Fate::without_answer(&lost.clone().into());
    ended(connection, fate, lost)
}
