//! Serves one message: parses it in place, obtains a permit, and runs it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::Instant;

use crate::codec::de::Elements;
use crate::codec::envelope::leading_id;
use crate::codec::error_code::{ProtocolError, Setting};
use crate::codec::id::Id;
use crate::codec::lines::Line;
use crate::codec::parser::{Document, ParseBuffers, ParseError, most_parsed_bytes};
use crate::codec::reply::Reply;
use crate::codec::request::Message;
use crate::context::Context;
use crate::memory::{ParsedKind, ParsedMessage};
use crate::permit::PermitSlot;
use crate::server::batch;
use crate::server::buffers::{
    BatchBuffers, RETAINING_QUARTERS, ReplyBuffer, SMALL_MESSAGE_BYTES, WorkerBuffers,
};
use crate::server::call_task::{CallSite, CallTask};
use crate::server::connection::ServerConnection;
use crate::server::invoke::{Invocation, PreparedCall, passes, prepare, reject};
use crate::server::recv::Receiver;
use crate::server::streaming;
use crate::service::router::Router;
use crate::streaming::exchange::Exchange;

/// Minimum size, in bytes, of a message that waits for its permit before it is parsed. A parsed message takes several times
/// its size.
const PARSED_LATE_BYTES: usize = 16 << 10;

/// Serves the small message in the task's buffers, and returns the buffer that holds the reply.
pub(super) async fn serve_small<R: Router>(task: &mut CallTask<R>, line: Line) -> ReplyBuffer {
    let CallTask {
        site,
        receiver,
        permit,
        buffers,
    } = task;
    let WorkerBuffers {
        message,
        arena,
        parser,
        reply,
        context,
        batch,
        exchange,
        ..
    } = buffers;
    exchange.clear();
    let (index, tape) = parser.split();
    let Some(mut document) = parse(site, message, line, reply, |message| {
        index.parse_request(tape, message)
    }) else {
        return ReplyBuffer::Single;
    };
    document.lend(arena);
    let request = match document.message() {
        Message::Single(request) => request,
        Message::Batch(entries) => {
            let serving = Serving::new(site, receiver, permit, exchange);
            return serving
                .serve_batch(entries, batch, Admission::default())
                .await;
        }
    };
    let Some(call) = prepare(site, request, reply) else {
        return ReplyBuffer::Single;
    };
    let permitted = match obtains_permit_at_once(site, permit) {
        true => Ok(()),
        false => obtain_permit(site, receiver, permit, call.deadline).await,
    };
    if let Err(error) = permitted {
        reply.reject(error);
        return ReplyBuffer::Single;
    }
    exchange.prepare(call.takes_upload, receiver.is_some());
    let invocation = Invocation::new(site, call, permit, Some(&*exchange));
    let run = pin!(invocation.run(context, reply));
    drive(run, site, receiver, permit, exchange).await;
    ReplyBuffer::Single
}

/// Serves a message that is not small. Its memory is counted, and unneeded memory is released before the handler waits.
pub(super) async fn serve_large<R: Router>(task: &mut CallTask<R>, line: Line) -> ReplyBuffer {
    let (admission, _parsed) = admit(task, line).await;
    let CallTask {
        site,
        receiver,
        permit,
        buffers,
    } = task;
    let WorkerBuffers {
        message,
        copy,
        arena,
        parser,
        reply,
        context,
        batch,
        exchange,
        charge,
    } = buffers;
    let (index, tape) = parser.split();
    let Some(mut document) = parse(site, message, line, reply, |message| {
        index.parse_large_request(tape, message, copy)
    }) else {
        return ReplyBuffer::Single;
    };
    document.lend(arena);
    release_index(index, site);
    let received_bytes = admission.message_bytes + document.text_bytes();
    charge.set(received_bytes + index.retained_bytes() + document.retained_bytes());
    let request = match document.message() {
        Message::Single(request) => request,
        Message::Batch(entries) => {
            let serving = Serving::new(site, receiver, permit, exchange);
            return serving.serve_batch(entries, batch, admission).await;
        }
    };
    let Some(call) = prepare(site, request, reply) else {
        return ReplyBuffer::Single;
    };
    let parts;
    let mut tape_bytes = document.retained_bytes();
    let call = match call.request.leaves_unread(&document) {
        true => {
            parts = call.request.copy_parts();
            tape_bytes = parts.bytes();
            let call = call.with_request(parts.request(call.request));
            document.release();
            call
        }
        false => call,
    }
    .received_at(admission.received);
    let kept_bytes = tape_bytes + call.request.copied_bytes();
    charge.set(received_bytes + index.retained_bytes() + kept_bytes);
    let serving = Serving::new(site, receiver, permit, exchange);
    serving.serve_call(call, admission, context, reply).await;
    ReplyBuffer::Single
}

/// The state with which a parsed message is served, except for its buffers.
struct Serving<'a, R> {
    site: &'a CallSite<R>,
    receiver: &'a mut Option<Box<Receiver>>,
    permit: &'a mut PermitSlot,
    exchange: &'a mut Exchange,
}

impl<'a, R: Router> Serving<'a, R> {
    fn new(
        site: &'a CallSite<R>,
        receiver: &'a mut Option<Box<Receiver>>,
        permit: &'a mut PermitSlot,
        exchange: &'a mut Exchange,
    ) -> Self {
        Self {
            site,
            receiver,
            permit,
            exchange,
        }
    }

    /// Serves a batch. During a shutdown a batch needs no permit, since none of its entries will run.
    async fn serve_batch(
        mut self,
        entries: Elements<'_, '_>,
        batch: &mut BatchBuffers,
        admission: Admission,
    ) -> ReplyBuffer {
        let received = admission.received.unwrap_or_else(Instant::now);
        if !self.site.connection.is_draining()
            && let Err(error) = self.obtain_permit(None, admission).await
        {
            batch.reject(error);
            return ReplyBuffer::Batch;
        }
        let Self {
            site,
            receiver,
            permit,
            exchange,
            ..
        } = self;
        let run = pin!(batch::serve((site, received), permit, entries, batch));
        drive(run, site, receiver, permit, exchange).await;
        ReplyBuffer::Batch
    }

    /// Serves a call.
    async fn serve_call(
        mut self,
        call: PreparedCall<'_, '_>,
        admission: Admission,
        context: &mut Context,
        reply: &mut Reply,
    ) {
        if let Err(error) = self.obtain_permit(call.deadline, admission).await {
            reply.reject(error);
            return;
        }
        let Self {
            site,
            receiver,
            permit,
            exchange,
        } = self;
        exchange.prepare(call.takes_upload, receiver.is_some());
        let run = pin!(Invocation::new(site, call, permit, Some(&*exchange)).run(context, reply));
        drive(run, site, receiver, permit, exchange).await;
    }

    /// Obtains a permit, unless the message has been rejected.
    async fn obtain_permit(
        &mut self,
        deadline: Option<Instant>,
        admission: Admission,
    ) -> Result<(), ProtocolError> {
        match admission.refused {
            Some(error) => Err(error),
            None if obtains_permit_at_once(self.site, self.permit) => Ok(()),
            None => obtain_permit(self.site, self.receiver, self.permit, deadline).await,
        }
    }
}

/// The result of the admission of a message, which precedes parsing.
#[derive(Debug, Clone, Copy, Default)]
struct Admission {
    /// The time when the message was received, if it had to wait.
    received: Option<Instant>,
    refused: Option<ProtocolError>,
    /// The capacity of the message's buffer.
    message_bytes: usize,
}

/// Counts a message that is not small. If it is large, waits for its permit and for room.
async fn admit<R: Router>(
    task: &mut CallTask<R>,
    line: Line,
) -> (Admission, Option<ParsedMessage>) {
    let CallTask {
        site,
        receiver,
        permit,
        buffers,
    } = task;
    let mut admission = Admission {
        message_bytes: buffers.message.capacity(),
        ..Admission::default()
    };
    buffers.exchange.clear();
    buffers.recount_large();
    if buffers.message.len() <= PARSED_LATE_BYTES || line != Line::Message {
        return (admission, None);
    }
    admission.received = Some(Instant::now());
    if !obtains_permit_at_once(site, permit) {
        let obtained = obtain_permit(site, receiver, permit, None).await;
        admission.refused = obtained.err();
    }
    // Room is obtained last, since the message must be parsed and counted as soon as there is room for it.
    let parsed = wait_to_parse(site, receiver, most_parsed_bytes(&buffers.message)).await;
    if parsed.is_none() {
        admission.refused = Some(ProtocolError::Cancelled);
    }
    (admission, parsed)
}

/// Waits until the connection's budget has room for the values of a message, which may take up to `bytes` bytes. Returns
/// `None` if the stream is reset meanwhile.
async fn wait_to_parse<R: Router>(
    site: &CallSite<R>,
    receiver: &mut Option<Box<Receiver>>,
    bytes: usize,
) -> Option<ParsedMessage> {
    let CallSite {
        connection, stream, ..
    } = site;
    if let Some(parsed) = ParsedMessage::enter(connection.memory(), ParsedKind::Request, bytes) {
        return Some(parsed);
    }
    let memory = connection.memory();
    let limit = memory.limit_of(memory.full_budget(bytes));
    let wait = ParsedMessage::wait_for_handlers(memory, bytes);
    let wait = connection.report_wait(limit, wait, |_| true);
    let Some(receiver) = receiver else {
        return Some(wait.await);
    };
    stream.flush_while_receiving(receiver).await;
    tokio::select! {
        biased;
        parsed = wait => return Some(parsed),
        () = stream.stopped() => {}
        () = stream.was_reset() => {}
        () = receiver.was_reset() => {}
    }
    stream.reset();
    None
}

/// Parses a message in place. Returns `None` if it cannot be parsed; `reply` then holds the error.
#[inline(always)]
fn parse<'p, 'de, R: Router>(
    site: &CallSite<R>,
    message: &'de mut Vec<u8>,
    line: Line,
    reply: &mut Reply,
    parse: impl FnOnce(&'de mut Vec<u8>) -> Result<Document<'p, 'de>, ParseError>,
) -> Option<Document<'p, 'de>> {
    let (id, error) = match line {
        Line::Message | Line::Partial => match parse(message) {
            Ok(document) => return Some(document),
            Err(ParseError { id, is_too_deep }) => match is_too_deep {
                true => (id, site.connection.too_deep()),
                false => (id, ProtocolError::Parse),
            },
        },
        Line::TooLarge => (leading_id(message), site.connection.request_too_large()),
        Line::Discarded(full) => (leading_id(message), site.connection.memory_limit(full)),
    };
    site.connection.abuse().record_wasted();
    site.connection.report_rejected(error);
    reject(reply, id.map_or(Id::Null, Id::Unsigned), error);
    None
}

/// Releases the memory of parsing if the connection uses much of its budget, since the handler may wait for a long time.
fn release_index<R: Router>(index: &mut ParseBuffers, site: &CallSite<R>) {
    if site.connection.memory().is_used_to(RETAINING_QUARTERS) {
        index.shrink(SMALL_MESSAGE_BYTES);
    }
}

/// Returns `true` if the permit of the previous message can be used for this message, or if another permit is free.
fn obtains_permit_at_once<R: Router>(site: &CallSite<R>, permit: &mut PermitSlot) -> bool {
    !site.connection.send_budget().is_full() && site.connection.try_fill(permit)
}

/// Obtains a permit, or returns the error with which to reply. While the call waits, queued replies are sent, and a reset of
/// the stream is noticed.
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
    } else if connection.try_fill(permit) {
        return Ok(());
    }
    if connection.limits().reject_excess_calls && !is_congested && !connection.is_draining() {
        return Err(connection.too_many_calls());
    }
    let limit = connection.reached_limit();
    let Some(receiver) = receiver else {
        return obtain_permit_directly(connection, permit, deadline, limit).await;
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
        () = passes(deadline) => {
            connection.abuse().record_timed_out_call();
            return Err(ProtocolError::DeadlinePassedAt(limit));
        }
        () = stream.stopped() => stream.reset(),
        () = receiver.was_reset() => stream.reset(),
        // The receiver notices no loss of the connection once it has all that was sent.
        () = stream.was_reset() => {}
    }
    Err(ProtocolError::ShuttingDown)
}

/// Obtains a permit for a message that was received without a stream. Waits only on a connection, since there may be no timers
/// without one.
async fn obtain_permit_directly<R: Router>(
    connection: &ServerConnection<R>,
    permit: &mut PermitSlot,
    deadline: Option<Instant>,
    limit: Setting,
) -> Result<(), ProtocolError> {
    if connection.is_draining() {
        return Err(ProtocolError::ShuttingDown);
    }
    if !connection.is_connected() {
        return Err(connection.too_many_calls());
    }
    tokio::select! {
        obtained = connection.wait_for_permit() => if obtained.is_some() {
            permit.put(obtained);
            return Ok(());
        },
        () = passes(deadline) => {
            connection.abuse().record_timed_out_call();
            return Err(ProtocolError::DeadlinePassedAt(limit));
        }
    }
    Err(ProtocolError::ShuttingDown)
}

/// Polls a call or a batch to its end. If it is not done at its first poll, hands the receiver over to another worker. A
/// call whose handler has items keeps the receiver, and `streaming` serves it.
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
            // The rest of the stream belongs to this call, so no other worker notices that the stream is reset.
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
    // The worker calls `end_streaming` after the reply was sent.
    site.stream.begin_streaming();
    if has_items {
        // Boxed, since few calls need the space.
        Box::pin(streaming::run(run, site, receiver, permit, exchange)).await;
    }
    streaming::end_receiving(site, receiver, exchange);
}
