//! A call on a stream of its own: large ones do not hold up those on a lane, and dropping it drops the call.

use bytes::Bytes;

use super::error::{Fate, NoAnswer};
use crate::transport::{Connection, ConnectionLost};
use crate::wire::frame::{Cut, Framer};

/// Sends one message and reads the one line that answers it.
pub(super) async fn ask(
    connection: Connection,
    request: Vec<u8>,
    reply_limit: usize,
) -> Result<Vec<u8>, NoAnswer> {
    let lost = |fate| move |reason| NoAnswer::Lost { fate, reason };
    let (mut send, mut recv) = connection.open_bi().await.map_err(lost(Fate::NotSent))?;
    let maybe = lost(Fate::MayHaveExecuted);
    let mut framer = Framer::new(reply_limit);
    let mut answer = Vec::new();
    let sending = async {
        let written = send.write_chunk(Bytes::from(request)).await;
        if written.is_ok() {
            send.finish();
        }
        // A server that refuses a request says why before it stops reading.
        std::future::pending::<()>().await;
    };
    let reading = async {
        loop {
            let chunk = recv
                .read_chunk()
                .await
                .map_err(ConnectionLost::from)
                .map_err(maybe)?;
            let cut = match chunk {
                Some(chunk) => {
                    framer.feed(chunk);
                    Some(framer.cut(&mut answer)).filter(|cut| *cut != Cut::Partial)
                }
                None => Some(framer.finish(&answer).unwrap_or(Cut::Partial)),
            };
            match cut {
                None => {}
                Some(Cut::Message) => return Ok(()),
                Some(Cut::TooLarge) => return Err(NoAnswer::TooLarge),
                Some(Cut::Partial) => {
                    // A server that ends a stream has answered what it executed.
                    let reason = "the stream ended without an answer".to_owned();
                    return Err(lost(Fate::NotExecuted)(ConnectionLost::Transport(reason)));
                }
            }
        }
    };
    tokio::select! {
        read = reading => read?,
        () = sending => {}
    }
    Ok(answer)
}

/// Sends one message that nobody answers, and waits until it has left.
pub(super) async fn tell(connection: Connection, request: Vec<u8>) -> Result<(), NoAnswer> {
    let lost = |fate| move |reason| NoAnswer::Lost { fate, reason };
    let mut send = connection.open_uni().await.map_err(lost(Fate::NotSent))?;
    let written = send.write_chunk(Bytes::from(request)).await;
    written
        .map_err(ConnectionLost::from)
        .map_err(lost(Fate::MayHaveExecuted))?;
    send.finish();
    Ok(())
}
