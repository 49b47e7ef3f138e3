//! One request from its envelope to its answer.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::task::coop;
use tokio::time::sleep_until;

use crate::codec::error_code::ProtocolError;
use crate::codec::params::decode::{Fault, FaultKind, Params};
use crate::codec::reply::Reply;
use crate::context::Context;
use crate::escape::Escaped;
use crate::outcome::Outcome;
use crate::server::admit::PreparedCall;
use crate::server::connection::ServerConnection;
use crate::server::in_flight::StopReason;
use crate::server::stream::ServerStream;
use crate::service::{Incoming, Router};
use crate::streaming::exchange::Exchange;

/// Tells what outlives a handler that the handler did not come to its end, also when nobody is left to say why: the
/// runtime that it ran on is going down.
struct CancelOnDrop<'c>(Option<&'c Context>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.cancel();
        }
    }
}

/// Why a handler did not come to its end.
enum AbortReason {
    Panicked(String),
    /// It cannot go on: an item was none, say.
    Faulty(Fault),
    Cancelled,
    Late,
}

impl AbortReason {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Panicked(_) => Outcome::Panicked,
            Self::Faulty(fault) => Outcome::Error(fault.code()),
            Self::Cancelled => Outcome::Cancelled,
            Self::Late => Outcome::Late,
        }
    }
}

/// Runs a call's handler and leaves the answer in `reply`.
pub(super) async fn answer<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    call: PreparedCall<'_, '_>,
    context: &mut Context,
    reply: &mut Reply,
    exchange: Option<&Exchange>,
) {
    let id = call.request.id;
    reply.begin(id);
    context.begin(call.deadline, call.request.meta);
    if call.is_late() {
        return reply.refuse(ProtocolError::DeadlinePassed);
    }
    if connection.was_cancelled(id) {
        return reply.refuse(ProtocolError::Cancelled);
    }
    let cut = match run(connection, lane, call, context, reply, exchange).await {
        Ok(Ok(())) => {
            connection.conduct().call_ended();
            return reply.settle();
        }
        Ok(Err(fault)) => {
            connection.conduct().call_ended();
            if let FaultKind::Unwritable(reason) = &fault.0 {
                log(call, context, reason);
            }
            if let FaultKind::Error(_) = &fault.0 {
                // A middleware gave its handler up, which may still hold what was begun, on another thread.
                reply.begin(id);
            }
            return reply.fault(&fault);
        }
        Err(cut) => cut,
    };
    if let AbortReason::Panicked(reason) = &cut {
        log(call, context, reason);
        spend_turn().await;
    }
    // A handler on another thread may still hold what was begun.
    reply.begin(id);
    reply.fault(&match cut {
        AbortReason::Panicked(_) => ProtocolError::Internal.into(),
        AbortReason::Cancelled => ProtocolError::Cancelled.into(),
        AbortReason::Late => ProtocolError::DeadlinePassed.into(),
        AbortReason::Faulty(fault) => fault,
    });
}

/// What the caller is not told.
fn log(call: PreparedCall<'_, '_>, context: &Context, reason: &str) {
    let method = call.request.method;
    let reason = Escaped(reason);
    tracing::error!(method, peer = ?context.peer(), %reason, "a handler failed");
}

/// A panic takes as long as many calls: the worker lets others have their turn after a few, as it otherwise does after
/// 128 messages.
async fn spend_turn() {
    const MESSAGES: usize = 32;
    poll_fn(|cx| {
        for _ in 0..MESSAGES {
            let Poll::Ready(turn) = coop::poll_proceed(cx) else {
                break;
            };
            turn.made_progress();
        }
        Poll::Ready(())
    })
    .await;
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no text"))
}

/// The handler's future, polled with its panics caught, until it ends, is cancelled or is out of time.
async fn run<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    call: PreparedCall<'_, '_>,
    context: &Context,
    reply: &mut Reply,
    exchange: Option<&Exchange>,
) -> Result<Result<(), Fault>, AbortReason> {
    let mut unfinished = CancelOnDrop(Some(context));
    let incoming = Incoming::new(Params::new(call.request.params), context)
        .with_items(exchange.zip(call.request.id));
    let mut handler = pin!(Some(connection.router().call(call.method, incoming, reply)));
    let mut late = pin!(call.deadline.map(sleep_until));
    let mut ticket = None;
    let ran = poll_fn(|cx| {
        let Some(running) = handler.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let poll = || catch_unwind(AssertUnwindSafe(|| running.poll(cx)));
        match context.lend_deadline(poll) {
            Ok(Poll::Ready(ran)) => return Poll::Ready(Ok(ran)),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(Err(AbortReason::Panicked(text(&*panic)))),
        }
        if let Some(fault) = exchange.and_then(Exchange::fault) {
            return Poll::Ready(Err(AbortReason::Faulty(fault)));
        }
        let is_new = ticket.is_none();
        let ticket = ticket.get_or_insert_with(|| {
            let is_stream = exchange.is_some_and(Exchange::sends_items);
            lane.calls.enter(call.request.id, is_stream)
        });
        let was_cancelled = is_new && connection.was_cancelled(call.request.id);
        if was_cancelled {
            return Poll::Ready(Err(AbortReason::Cancelled));
        }
        match ticket.poll_ended(cx) {
            Poll::Ready(StopReason::Cancelled) => return Poll::Ready(Err(AbortReason::Cancelled)),
            Poll::Ready(StopReason::ShutDown) => {
                return Poll::Ready(Err(AbortReason::Faulty(ProtocolError::StreamEnded.into())));
            }
            Poll::Pending => {}
        }
        let late = late.as_mut().as_pin_mut();
        if late.is_some_and(|late| late.poll(cx).is_ready()) {
            return Poll::Ready(Err(AbortReason::Late));
        }
        Poll::Pending
    })
    .await;
    if let Err(cut) = &ran {
        context.cut(cut.outcome());
    }
    // What the handler holds may panic, too, when it is dropped half-way.
    match catch_unwind(AssertUnwindSafe(|| handler.set(None))) {
        Ok(()) => {
            // What a middleware answers, it answers in the handler's place.
            let is_replaced = matches!(&ran, Ok(Err(Fault(FaultKind::Error(_)))));
            if ran.is_ok() && !is_replaced {
                unfinished.0 = None;
            }
            ran
        }
        Err(panic) => Err(AbortReason::Panicked(text(&*panic))),
    }
}
