//! A message while it runs: who reads on meanwhile, and the items that come and go.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use tokio::task::coop;

use crate::codec::error_code::ProtocolError;
use crate::codec::lines::Line;
use crate::codec::stream_frame;
use crate::server::connection::{Permit, ServerConnection};
use crate::server::recv::{MessageReader, Receiver};
use crate::server::stream::ServerStream;
use crate::server::worker::Worker;
use crate::service::Router;
use crate::streaming::exchange::Exchange;

/// Runs `work` to its end. If it is not done at once, the reading half goes to another worker, unless the handler takes
/// items: the rest of the stream is for that.
pub(super) async fn run<R: Router>(
    mut work: Pin<&mut impl Future<Output = ()>>,
    connection: &Arc<ServerConnection<R>>,
    lane: &Arc<ServerStream>,
    turn: &mut Option<Box<Receiver>>,
    permit: &mut Option<Permit>,
    exchange: &Exchange,
) {
    let has_items = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending if exchange.is_used() => Poll::Ready(true),
        Poll::Pending => {
            hand_on(connection, lane, turn);
            Poll::Pending
        }
    });
    if has_items.await {
        // In a box: few calls need so much room.
        Box::pin(run_with_items(
            work, connection, lane, turn, permit, exchange,
        ))
        .await;
    }
    if exchange.is_used() && (exchange.takes_items() || exchange.is_unwanted()) {
        // The handler has enough of them.
        turn.take();
        lane.end();
    }
}

fn hand_on<R: Router>(
    connection: &Arc<ServerConnection<R>>,
    lane: &Arc<ServerStream>,
    turn: &mut Option<Box<Receiver>>,
) {
    if let Some(reader) = turn.take().and_then(|reader| lane.hand_on(reader)) {
        Worker::start(Arc::clone(connection), Arc::clone(lane), reader);
    }
}

async fn run_with_items<R: Router>(
    mut work: Pin<&mut impl Future<Output = ()>>,
    connection: &Arc<ServerConnection<R>>,
    lane: &Arc<ServerStream>,
    turn: &mut Option<Box<Receiver>>,
    permit: &mut Option<Permit>,
    exchange: &Exchange,
) {
    permit.iter_mut().for_each(Permit::leave_the_server);
    lane.be_patient();
    let _room = exchange.takes_items().then(|| connection.make_room());
    let mut sending = pin!(None);
    let mut receiving = pin!(None);
    poll_fn(|cx| {
        while work.as_mut().poll(cx).is_pending() {
            // Others shall have their turn, too, however fast items come.
            let share = ready!(coop::poll_proceed(cx));
            let mut has_moved = false;
            if let Some(lines) = exchange.offered() {
                sending.set(Some(send(connection, lane, lines)));
            }
            if let Some(sent) = sending.as_mut().as_pin_mut()
                && let Poll::Ready(lines) = sent.poll(cx)
            {
                sending.set(None);
                exchange.sent(lines);
                has_moved = true;
            }
            if exchange.is_unwanted() {
                // Whoever sends them hears of it, and what else runs on the stream goes on.
                receiving.set(None);
                turn.take();
                lane.end();
            }
            if !exchange.takes_items() {
                hand_on(connection, lane, turn);
            } else if let Some(reader) = turn.take() {
                receiving.set(Some(receive(connection, lane, reader, exchange)));
            }
            if let Some(received) = receiving.as_mut().as_pin_mut()
                && let Poll::Ready(received) = received.poll(cx)
            {
                receiving.set(None);
                if let Some(Received { reader, line, kind }) = received {
                    *turn = Some(reader);
                    exchange.bring(line, kind, cx);
                    has_moved = true;
                }
            }
            if exchange.is_unwanted() && pin!(lane.stopped()).poll(cx).is_ready() {
                // Nobody reads who would notice.
                lane.kill();
            }
            if !has_moved {
                return Poll::Pending;
            }
            share.made_progress();
        }
        Poll::Ready(())
    })
    .await;
    if let Some(sending) = sending.as_pin_mut() {
        // Not to be dropped half-way: others may use the stream. The handler is gone and counts no more.
        *permit = None;
        sending.await;
    }
}

/// Sends lines of items, when there is room for them.
async fn send<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    lines: Vec<u8>,
) -> Vec<u8> {
    connection.quiet().disturb();
    lane.push(lines.strip_suffix(b"\n").unwrap_or(&lines));
    lane.flush().await;
    lane.sent_items();
    lines
}

struct Received {
    reader: Box<Receiver>,
    line: Vec<u8>,
    kind: Result<(), ProtocolError>,
}

/// Receives an item once the handler wants one; `None` if the other side has given up the stream.
async fn receive<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    mut reader: Box<Receiver>,
    exchange: &Exchange,
) -> Option<Received> {
    let mut line = Vec::new();
    let next = async {
        tokio::select! {
            biased;
            () = exchange.is_wanted() => {}
            () = reader.recv.was_reset() => return None,
        }
        // Not before: the handler may not have looked at the last one yet.
        line = exchange.buffer();
        let leader = MessageReader {
            connection,
            lane,
            seat: None,
        };
        let mut permit = None;
        let next = leader.next_message(&mut reader, &mut line, &mut permit);
        next.await.ok()
    };
    let cut = tokio::select! {
        biased;
        cut = next => cut,
        () = lane.stopped() => None,
    };
    let kind = match cut {
        Some(Some(Line::Message))
            if stream_frame::is_other_message(&line, connection.limits().depth) =>
        {
            // Another call, which shall not suffer for this one.
            reader.put_back(std::mem::take(&mut line));
            exchange.leave();
            Err(ProtocolError::InvalidRequest("an item was expected"))
        }
        Some(Some(Line::Message)) => Ok(()),
        Some(Some(Line::TooLarge)) => Err(ProtocolError::RequestTooLarge),
        Some(Some(Line::Partial) | None) => {
            let cut_off = "the stream ended before its items did";
            Err(ProtocolError::InvalidRequest(cut_off))
        }
        None => {
            lane.kill();
            return None;
        }
    };
    Some(Received { reader, line, kind })
}
