//! Serves calls with streams of items. This path is separate from that of other calls, and entered only if a handler has
//! items.
//!
//! The worker polls the handler, moves the items that it offers to the stream and the items that it requests to the handler,
//! and polls it again. All of this is one task, so items are not copied between tasks and need no allocation.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use crate::codec::RETAINED_BUFFER_BYTES;
use crate::codec::error_code::ProtocolError;
use crate::codec::lines::Line;
use crate::memory::MemoryCharge;
use crate::permit::PermitSlot;
use crate::server::call_task::CallSite;
use crate::server::recv::{ReceiveError, Receiver};
use crate::service::router::Router;
use crate::streaming::exchange::Exchange;

/// Runs a call with items to its end.
pub(super) async fn run<R: Router>(
    mut run: Pin<&mut impl Future<Output = ()>>,
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    permit: &PermitSlot,
    exchange: &Exchange,
) {
    permit.release_server();
    let _room = exchange.takes_items().then(|| site.connection.make_room());
    // The items in transit are counted while they are large.
    let (mut _sent_charge, mut _received_charge) = (None, None);
    let mut sending = pin!(None);
    let mut receiving = pin!(None);
    poll_fn(|cx| {
        while run.as_mut().poll(cx).is_pending() {
            // Lets other tasks run, even if items are always ready.
            let budget = ready!(coop::poll_proceed(cx));
            let mut has_moved = false;
            if let Some(lines) = exchange.take_lines() {
                match site.connection.check_room(lines.len()) {
                    Ok(()) => {
                        _sent_charge = charge_large(site, &lines);
                        sending.set(Some(send(site, lines)));
                    }
                    Err(error) => {
                        exchange.fail(error);
                        has_moved = true;
                    }
                }
            }
            if let Some(lines) = poll_slot(sending.as_mut(), cx) {
                exchange.record_sent(lines);
                has_moved = true;
            }
            if exchange.is_receiver_dropped() {
                receiving.set(None);
            }
            end_receiving(site, receiver, exchange);
            if !exchange.takes_items() {
                site.hand_over(receiver);
            } else if let Some(receiver) = receiver.take() {
                receiving.set(Some(receive(site, receiver, exchange)));
            }
            if let Some(Some(received)) = poll_slot(receiving.as_mut(), cx) {
                *receiver = Some(received.receiver);
                _received_charge = received.charge;
                exchange.deliver(received.line, received.result, cx);
                has_moved = true;
            }
            if exchange.is_receiver_dropped() && pin!(site.stream.stopped()).poll(cx).is_ready() {
                // No worker receives on the stream, so no other worker notices.
                site.stream.reset();
            }
            if !has_moved {
                return Poll::Pending;
            }
            budget.made_progress();
        }
        Poll::Ready(())
    })
    .await;
    if let Some(sending) = sending.as_pin_mut() {
        // A write is completed, since other calls may use the stream. The handler has ended, so its permit is released.
        permit.put(None);
        sending.await;
    }
}

/// Polls the future in a slot, and empties the slot when the future is done.
fn poll_slot<F: Future>(mut slot: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Option<F::Output> {
    let Poll::Ready(output) = slot.as_mut().as_pin_mut()?.poll(cx) else {
        return None;
    };
    slot.set(None);
    Some(output)
}

/// Ends the receiving half if the handler has dropped its items before their end. The client is informed, and other calls of
/// the stream continue.
pub(super) fn end_receiving<R: Router>(
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    exchange: &Exchange,
) {
    if exchange.is_receiver_dropped() {
        *receiver = None;
        site.stream.end();
    }
}

/// Sends lines of items. Resolves when the transport has accepted them.
async fn send<R: Router>(site: &CallSite<R>, lines: Vec<u8>) -> Vec<u8> {
    site.connection.idle().record_activity();
    site.stream.push_items(&lines);
    site.stream.flush().await;
    site.stream.record_sent_items();
    lines
}

/// A line for the handler, and the receiver that it came from.
struct Received {
    receiver: Box<Receiver>,
    line: Vec<u8>,
    charge: Option<MemoryCharge>,
    result: Result<(), ProtocolError>,
}

/// Counts the bytes of items, if there are many.
fn charge_large<R: Router>(site: &CallSite<R>, items: &Vec<u8>) -> Option<MemoryCharge> {
    let is_large = items.capacity() > RETAINED_BUFFER_BYTES;
    is_large.then(|| MemoryCharge::new(site.connection.memory(), items.capacity()))
}

/// Receives an item once the handler requests it. Returns `None` if the stream was reset.
async fn receive<R: Router>(
    site: &CallSite<R>,
    mut receiver: Box<Receiver>,
    exchange: &Exchange,
) -> Option<Received> {
    let mut line = Vec::new();
    let mut charge = None;
    let next = async {
        tokio::select! {
            biased;
            () = exchange.is_requested() => {}
            () = receiver.was_reset() => return Err(ReceiveError::Lost),
        }
        // The buffer is taken only now, since the handler may have been reading the last line until now.
        line = exchange.take_buffer();
        next_line(site, &mut receiver, &mut line, &mut charge).await
    };
    let next = tokio::select! {
        biased;
        next = next => next,
        () = site.stream.stopped() => Err(ReceiveError::Lost),
    };
    let result = match next {
        Ok(Some(Line::Message)) if exchange.is_other_message(&line) => {
            // The message is another call, which is served after this call has failed.
            receiver.put_back(std::mem::take(&mut line));
            exchange.discard();
            Err(ProtocolError::InvalidRequest("an item was expected"))
        }
        Ok(Some(Line::Message)) => Ok(()),
        Ok(Some(Line::TooLarge)) => Err(site.connection.request_too_large()),
        Ok(Some(Line::Discarded(full))) => Err(site.connection.memory_limit(full)),
        Ok(Some(Line::Partial) | None) => Err(ProtocolError::InvalidRequest(
            "the stream ended before its items did",
        )),
        Err(error) => {
            site.reset_after(error);
            return None;
        }
    };
    Some(Received {
        receiver,
        line,
        charge,
        result,
    })
}

/// Receives the next line. Returns `None` at the end of the stream.
async fn next_line<R: Router>(
    site: &CallSite<R>,
    receiver: &mut Receiver,
    line: &mut Vec<u8>,
    charge: &mut Option<MemoryCharge>,
) -> Result<Option<Line>, ReceiveError> {
    loop {
        if site.stream.is_reset() {
            return Err(ReceiveError::Lost);
        }
        if let Some(found) = receiver.next_line(line) {
            return Ok(Some(found));
        }
        *charge = charge_large(site, line);
        if !site.receive(receiver, line).await? {
            return Ok(receiver.finish(line));
        }
    }
}
