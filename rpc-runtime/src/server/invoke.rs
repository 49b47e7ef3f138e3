//! Serves one call from its envelope to its reply: finds the method, runs the handler, enforces its deadline, handles its
//! cancellation, and catches its panics.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::codec::error_code::{ProtocolError, Setting};
use crate::codec::escape::Escaped;
use crate::codec::id::Id;
use crate::codec::params::decode::Params;
use crate::codec::reply::{Fault, FaultKind, Reply};
use crate::codec::request::{Invalid, Request};
use crate::codec::steps;
use crate::context::Context;
use crate::outcome::Outcome;
use crate::permit::PermitSlot;
use crate::reply_metadata::ReplyMetadata;
use crate::server::call_task::CallSite;
use crate::server::in_flight::{InFlightEntry, StopReason};
use crate::service::incoming::Incoming;
use crate::service::router::Router;
use crate::streaming::exchange::Exchange;

/// Maximum timeout of a call. Longer timeouts are ignored.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads an envelope and finds its method. Returns the call to run, or `None` if `reply` already holds the reply.
pub(super) fn prepare<'t, 'de, R: Router>(
    site: &CallSite<R>,
    request: Result<Request<'t, 'de>, Invalid<'de>>,
    reply: &mut Reply,
) -> Option<PreparedCall<'t, 'de>> {
    let mut request = match request {
        Ok(request) => request,
        Err(Invalid { id, error }) => {
            site.connection.abuse().record_wasted();
            reject(reply, id, error);
            return None;
        }
    };
    reply.begin(request.id);
    if request.id.is_some() && !site.stream.is_bidirectional() {
        // No reply can be sent to a call on a unidirectional stream.
        reply.begin(None);
        return None;
    }
    if let Some(defaults) = &site.defaults {
        request.timeout = defaults.timeout_ms(request.timeout);
    }
    if request.method.starts_with("rpc.") {
        answer(site, &request, reply);
        return None;
    }
    let connection = &site.connection;
    match connection.find(request.method) {
        None if R::UNKNOWN.is_none() || connection.is_draining() => {
            reply.reject_unknown(request.method);
        }
        None => {
            return R::UNKNOWN.map(|method| PreparedCall {
                deadline: deadline(request.timeout, Instant::now),
                takes_upload: false,
                request,
                method,
            });
        }
        Some(_) if connection.is_draining() => reply.reject(ProtocolError::ShuttingDown),
        Some(method) => {
            return Some(PreparedCall {
                deadline: deadline(request.timeout, Instant::now),
                takes_upload: connection.takes_upload(method),
                request,
                method,
            });
        }
    }
    None
}

/// Answers a call of one of the protocol's own methods.
fn answer<R: Router>(site: &CallSite<R>, request: &Request<'_, '_>, reply: &mut Reply) {
    match request.method {
        "rpc.ping" => reply.write_missing_result(),
        "rpc.discover" => {
            let context = || {
                let mut context = site.connection.context();
                context.set_defaults(site.defaults.as_ref());
                context.begin(None, request.meta);
                context
            };
            let discover = site.connection.discover_reply();
            discover.answer::<R>(context, reply);
        }
        "rpc.health" => site.connection.answer_health(request, reply),
        "rpc.cancel" => match request.cancellation() {
            Some(cancel) => {
                site.connection.cancel(&site.stream, cancel);
                reply.write_missing_result();
            }
            None => reply.reject(ProtocolError::InvalidParams(
                "`rpc.cancel` takes the id of a call",
            )),
        },
        method => reply.reject_unknown(method),
    }
}

fn deadline(timeout: Option<u64>, received: impl FnOnce() -> Instant) -> Option<Instant> {
    let timeout = Duration::from_millis(timeout?);
    (timeout < MAX_TIMEOUT).then(|| received() + timeout)
}

/// Replies to the request with this id with an error of the protocol.
pub(super) fn reject(reply: &mut Reply, id: Id<'_>, error: ProtocolError) {
    reply.begin(Some(id));
    reply.reject(error);
}

/// A request whose method was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreparedCall<'t, 'de> {
    pub(super) request: Request<'t, 'de>,
    pub(super) method: u32,
    pub(super) deadline: Option<Instant>,
    /// `true` if the caller sends items after the request.
    pub(super) takes_upload: bool,
}

impl<'de> PreparedCall<'_, 'de> {
    /// Returns the call with the time at which its message was received, if that is known.
    pub(super) fn received_at(self, received: Option<Instant>) -> Self {
        let received = || received.unwrap_or_else(Instant::now);
        Self {
            deadline: deadline(self.request.timeout, received),
            ..self
        }
    }

    /// Returns the call with a copy of its request.
    pub(super) fn with_request<'t>(self, request: Request<'t, 'de>) -> PreparedCall<'t, 'de> {
        PreparedCall {
            request,
            method: self.method,
            deadline: self.deadline,
            takes_upload: self.takes_upload,
        }
    }

    fn is_past_deadline(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Returns the error for a call that gets no permit.
    pub(super) fn rejection(&self, limit: Setting) -> ProtocolError {
        match self.is_past_deadline() {
            true => ProtocolError::DeadlinePassedAt(limit),
            false => ProtocolError::ShuttingDown,
        }
    }
}

/// Resolves at the deadline. Never resolves if there is none.
pub(super) async fn passes(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A call that has a permit.
pub(super) struct Invocation<'c, 't, 'de, R> {
    pub(super) site: &'c CallSite<R>,
    pub(super) call: PreparedCall<'t, 'de>,
    pub(super) permit: &'c PermitSlot,
    /// Exchanges the items of the call; `None` where items cannot be transferred.
    pub(super) exchange: Option<&'c Exchange>,
}

/// The reason why a handler did not return.
enum AbortReason {
    Panicked(String),
    /// The call failed, for example because an item could not be read.
    Faulted(Fault),
    Cancelled,
    TimedOut,
}

impl AbortReason {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Panicked(_) => Outcome::Panicked,
            Self::Faulted(fault) => Outcome::Error(fault.code()),
            Self::Cancelled => Outcome::Cancelled,
            Self::TimedOut => Outcome::TimedOut,
        }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Panicked(_) => ProtocolError::Internal.into(),
            Self::Faulted(fault) => fault,
            Self::Cancelled => ProtocolError::Cancelled.into(),
            Self::TimedOut => ProtocolError::DeadlinePassed.into(),
        }
    }
}

impl<'c, 't, 'de, R: Router> Invocation<'c, 't, 'de, R> {
    pub(super) fn new(
        site: &'c CallSite<R>,
        call: PreparedCall<'t, 'de>,
        permit: &'c PermitSlot,
        exchange: Option<&'c Exchange>,
    ) -> Self {
        Self {
            site,
            call,
            permit,
            exchange,
        }
    }

    /// Runs the handler and writes the reply to `reply`.
    pub(super) async fn run(self, context: &mut Context, reply: &mut Reply) {
        let PreparedCall {
            request, deadline, ..
        } = self.call;
        context.begin(deadline, request.meta);
        if self.call.is_past_deadline() {
            self.site.connection.abuse().record_timed_out_call();
            return reply.reject(ProtocolError::DeadlinePassed);
        }
        let CallSite {
            connection,
            stream,
            message_end,
            ..
        } = self.site;
        if stream.in_flight.was_cancelled(request.id, *message_end) {
            return reply.reject(ProtocolError::Cancelled);
        }
        match self.poll_handler(context, reply).await {
            Ok(Ok(())) => {
                connection.abuse().record_ended();
                reply.write_missing_result();
            }
            Ok(Err(fault)) => {
                connection.abuse().record_ended();
                if let FaultKind::Unwritable(reason) = &fault.0 {
                    self.log(context, reason);
                }
                if let FaultKind::Protocol(error) = &fault.0 {
                    connection.report_rejected(*error);
                }
                if !matches!(fault.0, FaultKind::Written(_)) {
                    // The reply's buffer may be held by a handler on another thread, which never started or which a
                    // middleware has replaced.
                    reply.begin(request.id);
                }
                match fault.0 {
                    FaultKind::UnknownMethod => reply.reject_unknown(self.call.request.method),
                    _ => reply.fault(&fault),
                }
            }
            Err(reason) => {
                match &reason {
                    AbortReason::Panicked(text) => {
                        self.log(context, text);
                        spend_budget().await;
                    }
                    AbortReason::TimedOut => connection.abuse().record_timed_out_call(),
                    _ => {}
                }
                // A handler on another thread may hold the reply's buffer.
                reply.begin(request.id);
                reply.fault(&reason.fault());
            }
        }
        if let Err(error) = connection.check_room(reply.bytes().len()) {
            reply.reject(error);
        }
        if let Some(metadata) = context.response_meta() {
            add_metadata(metadata, reply, request.method);
        }
        context.end();
    }

    /// Polls the handler's future until it returns, panics, is stopped or exceeds its deadline.
    async fn poll_handler(
        &self,
        context: &Context,
        reply: &mut Reply,
    ) -> Result<Result<(), Fault>, AbortReason> {
        let PreparedCall {
            request,
            method,
            deadline,
            ..
        } = self.call;
        let mut unfinished = CancelOnDrop(Some(context));
        let incoming = Incoming::new(Params::new(request.params), context)
            .with_items(self.exchange.zip(request.id))
            .with_permit(self.permit, self.site.connection.memory())
            .with_unknown_method(
                R::UNKNOWN
                    .filter(|unknown| *unknown == method)
                    .map(|_| request.method),
            );
        let future = self.site.connection.router().call(method, &incoming, reply);
        let mut handler = pin!(Some(future));
        let mut timer = pin!(deadline.map(sleep_until));
        let mut entry = None;
        let ended = poll_fn(|cx| {
            let Some(running) = handler.as_mut().as_pin_mut() else {
                return Poll::Pending;
            };
            steps::step();
            let poll = || catch_unwind(AssertUnwindSafe(|| running.poll(cx)));
            match context.with_deadline(poll) {
                Ok(Poll::Ready(returned)) => Poll::Ready(Ok(returned)),
                Ok(Poll::Pending) => {
                    let aborted = self.poll_aborted(&mut entry, timer.as_mut(), cx);
                    aborted.map(Err)
                }
                Err(panic) => Poll::Ready(Err(AbortReason::Panicked(panic_text(panic)))),
            }
        })
        .await;
        if let Err(reason) = &ended {
            context.abort_with(reason.outcome());
        }
        // Values that an unfinished handler holds may panic when they are dropped.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler.set(None))) {
            return Err(AbortReason::Panicked(panic_text(panic)));
        }
        // If a middleware returned an error instead of its handler, the handler has not returned.
        let is_replaced = matches!(&ended, Ok(Err(Fault(FaultKind::Error(_)))));
        if ended.is_ok() && !is_replaced {
            unfinished.0 = None;
        }
        ended
    }

    /// Resolves when a waiting handler must be aborted. Enters the call when its handler waits for the first time.
    fn poll_aborted<'s>(
        &'s self,
        entry: &mut Option<InFlightEntry<'s>>,
        timer: Pin<&mut Option<Sleep>>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<AbortReason> {
        if let Some(fault) = self.exchange.and_then(Exchange::fault) {
            return Poll::Ready(AbortReason::Faulted(fault));
        }
        let entry = entry.get_or_insert_with(|| {
            let in_flight = &self.site.stream.in_flight;
            in_flight.enter(self.call.request.id, self.site.message_end)
        });
        let is_streaming = self.exchange.is_some_and(Exchange::sends_items);
        match entry.poll_stopped(is_streaming, cx) {
            Poll::Ready(StopReason::Cancelled) => return Poll::Ready(AbortReason::Cancelled),
            Poll::Ready(StopReason::ShuttingDown) => {
                return Poll::Ready(AbortReason::Faulted(ProtocolError::StreamEnded.into()));
            }
            Poll::Pending => {}
        }
        match timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| AbortReason::TimedOut),
            None => Poll::Pending,
        }
    }

    /// Logs a reason that is not sent to the client.
    fn log(&self, context: &Context, reason: &str) {
        let method = self.call.request.method;
        let reason = Escaped(reason);
        let peer = context.peer().map(tracing::field::display);
        tracing::error!(target: "rpc_runtime::server", method, peer, %reason, "handler failed");
    }
}

/// Appends the metadata of a call that has ended to its reply.
#[cold]
fn add_metadata(metadata: &ReplyMetadata, reply: &mut Reply, method: &str) {
    metadata.end(|metadata| {
        if !reply.add_metadata(metadata) {
            tracing::debug!(target: "rpc_runtime::server", method, "response metadata left out");
        }
    });
}

/// Cancels work that outlives a handler, unless the handler has returned. Also cancels it when the runtime that polls the
/// handler shuts down.
struct CancelOnDrop<'c>(Option<&'c Context>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.cancel();
        }
    }
}

/// Returns the text of a panic. The payload of the panic may itself panic when it is dropped.
fn panic_text(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = format!("panicked: {}", text.unwrap_or("no text"));
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        // Dropping this payload could panic again, without end.
        std::mem::forget(second);
    }
    text
}

/// Makes the worker yield soon, since a panic takes as long as many calls, after which the worker would have yielded.
async fn spend_budget() {
    const MESSAGES: usize = 32;
    poll_fn(|cx| {
        for _ in 0..MESSAGES {
            let Poll::Ready(budget) = coop::poll_proceed(cx) else {
                break;
            };
            budget.made_progress();
        }
        Poll::Ready(())
    })
    .await;
}
