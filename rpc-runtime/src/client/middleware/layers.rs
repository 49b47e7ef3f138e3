//! Runs a call through the middleware of its client.
//!
//! The middleware's future and the call meet at a [`RunGate`]: the innermost layer, [`RunRequest`](super::gate::RunRequest), asks the call to send its request
//! and waits. The call sends it as it would without middleware, and leaves the response at the gate. So the types of the
//! call stay with the call, and calls without middleware have none of this.

use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::decode::{decode_reply, restore};
use crate::client::error::{CallError, CallFailure};
use crate::client::metadata::MetadataWriter;
use crate::client::middleware::chain::{Chain, ClientNext};
use crate::client::middleware::gate::{RunGate, RunPhase};
use crate::client::middleware::request::{ClientRequest, RequestKind};
use crate::client::middleware::response::{
    ClientOutcome, ClientResponse, KeptResponse, ResponseContent,
};
use crate::codec::envelope::{DATA, ERROR, HEAD, MESSAGE};
use crate::codec::error::ErrorObject;
use crate::codec::response::ResponseBody;
use crate::codec::result::{ReadError, ResultReader};
use crate::codec::ser::write_string;
use crate::context::Extensions;
use crate::sync;

/// The state of a call that passes through the middleware of its client.
pub(in crate::client) struct Layers {
    gate: Arc<RunGate>,
    middleware: Arc<Chain>,
    /// Taken when the call begins.
    kind: Option<RequestKind>,
    future: Option<Pin<Box<dyn Future<Output = ClientResponse> + Send>>>,
    /// `true` if the call is sent at most once.
    is_sent_once: bool,
    /// The number of runs that have begun.
    runs: u32,
}

/// What the call has to do next.
pub(in crate::client) enum Step {
    /// The middleware waits for something else.
    Wait,
    /// The call is sent, with this metadata.
    Start(MetadataWriter),
    /// The call has been sent and waits.
    Continue,
}

impl Layers {
    #[cold]
    pub(in crate::client) fn new(middleware: &Arc<Chain>, kind: RequestKind) -> Box<Self> {
        Box::new(Self {
            gate: Arc::default(),
            middleware: Arc::clone(middleware),
            kind: Some(kind),
            future: None,
            is_sent_once: false,
            runs: 0,
        })
    }

    /// Records that the call is sent at most once.
    pub(in crate::client) fn send_once(&mut self) {
        self.is_sent_once = true;
    }

    /// Changes what the middleware will see.
    pub(in crate::client) fn mark(&mut self, mark: impl FnOnce(&mut RequestKind)) {
        if let Some(kind) = &mut self.kind {
            mark(kind);
        }
    }

    /// Returns `true` until [`begin`](Self::begin) is called.
    pub(in crate::client) fn is_new(&self) -> bool {
        self.kind.is_some()
    }

    /// Starts the middleware.
    pub(in crate::client) fn begin(
        &mut self,
        metadata: &MetadataWriter,
        remaining: Option<Duration>,
    ) {
        let Some(about) = self.kind.take() else {
            return;
        };
        let mut request = ClientRequest {
            about,
            metadata: metadata.clone(),
            deadline: remaining.and_then(|remaining| Instant::now().checked_add(remaining)),
            attempts: 0,
            extensions: Extensions::default(),
        };
        let (gate, middleware) = (Arc::clone(&self.gate), Arc::clone(&self.middleware));
        self.future = Some(Box::pin(async move {
            let next = ClientNext {
                gate: &gate,
                chain: &middleware,
                rest: &middleware,
            };
            next.run(&mut request).await
        }));
    }

    /// Polls the middleware. Returns its response once it has ended.
    pub(in crate::client) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ClientResponse> {
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Returns what the call has to do next.
    pub(in crate::client) fn next_step(&mut self) -> Step {
        let mut state = sync::lock(&self.gate.0);
        match state.phase {
            RunPhase::Requested => {
                state.phase = RunPhase::Running;
                self.runs += 1;
                Step::Start(mem::take(&mut state.metadata))
            }
            RunPhase::Running => Step::Continue,
            RunPhase::Idle | RunPhase::Done(_) => Step::Wait,
        }
    }

    /// Ends the run with the first failure, if the call was sent and is sent at most once. Returns `true` then.
    pub(in crate::client) fn refuse_second_run(&mut self) -> bool {
        let mut state = sync::lock(&self.gate.0);
        if !self.is_sent_once || state.attempts == 0 {
            return false;
        }
        let failure = state.failure.take();
        let failure = failure.unwrap_or_else(|| {
            CallError::Encode("the call was sent, and cannot be sent again".into())
        });
        drop(state);
        self.complete_later(ResponseContent::Failed(failure), KeptResponse::Nothing);
        true
    }

    /// Records that an attempt has been sent.
    pub(in crate::client) fn attempt_started(&mut self, at: Instant) {
        let mut state = sync::lock(&self.gate.0);
        state.attempts += 1;
        state.sent_at = Some(at);
    }

    /// Records that an attempt has ended, if one was sent. The middleware sees it when it is polled.
    pub(in crate::client) fn attempt_ended(
        &mut self,
        outcome: ClientOutcome,
        server: Option<SocketAddr>,
    ) {
        let mut state = sync::lock(&self.gate.0);
        if let Some(mut attempt) = state.end_attempt(outcome) {
            attempt.server = server;
            state.ended.push(attempt);
        }
    }

    /// Ends the run. Returns its number.
    pub(in crate::client) fn complete(
        &mut self,
        content: ResponseContent,
        received: KeptResponse,
        cx: &Context<'_>,
    ) -> u32 {
        // The call polls the middleware next. A middleware may poll the run with another waker, which has to be woken.
        let waker = self.end_run(content, received);
        let waker = waker.filter(|waker| !waker.will_wake(cx.waker()));
        waker.into_iter().for_each(Waker::wake);
        self.runs
    }

    /// Ends the run of a call that polls the middleware later.
    pub(in crate::client) fn complete_later(
        &mut self,
        content: ResponseContent,
        received: KeptResponse,
    ) {
        let waker = self.end_run(content, received);
        waker.into_iter().for_each(Waker::wake);
    }

    fn end_run(&mut self, content: ResponseContent, received: KeptResponse) -> Option<Waker> {
        let mut state = sync::lock(&self.gate.0);
        if let (true, ResponseContent::Failed(error)) = (self.is_sent_once, &content) {
            state.failure = Some(error.clone());
        }
        state.phase = RunPhase::Done(ClientResponse::of_run(self.runs, content, received));
        state.waker.take()
    }

    /// Returns the number of the run that began last.
    pub(in crate::client) fn run(&self) -> u32 {
        self.runs
    }

    /// Drops the middleware of a call that has ended with `outcome`.
    pub(in crate::client) fn abort(&mut self, outcome: ClientOutcome) {
        sync::lock(&self.gate.0).aborted = Some(outcome);
        self.future = None;
    }
}

/// Returns the error object of a response, as it was received.
pub(in crate::client) fn received_error(body: &ResponseBody<'_, '_>) -> Option<ErrorObject> {
    match *body {
        ResponseBody::Error {
            code,
            message,
            data,
        } => Some(ErrorObject::received(code, message, data)),
        ResponseBody::Result(_) => None,
    }
}

/// Returns the result of a call from the response of its middleware.
pub(in crate::client) fn decode_response<T, E>(
    response: ClientResponse,
    reader: ResultReader<T, E>,
) -> Result<T, CallError<E>> {
    let mut kept = response.reply;
    let mut line = match response.content {
        ResponseContent::Success => {
            let reply = kept.as_mut().map(sync::get_mut);
            let reply = reply.ok_or(CallFailure::AlreadyCompleted)?;
            restore(&mut reply.line, reply.length);
            mem::take(&mut reply.line)
        }
        ResponseContent::Answer(message) => message,
        ResponseContent::Failed(error) => return Err(typed_error(error, reader.error)),
    };
    let decoded = decode_reply(reader, &mut line, &mut (), |_, _| ());
    decoded.unwrap_or_else(|| Err(CallFailure::malformed(&line).into()))
}

impl ClientResponse {
    /// Returns the end of a call whose result is not decoded.
    pub(in crate::client) fn into_end<E>(self, read: ReadError<E>) -> Result<(), CallError<E>> {
        match self.content {
            ResponseContent::Success | ResponseContent::Answer(_) => Ok(()),
            ResponseContent::Failed(error) => Err(typed_error(error, read)),
        }
    }
}

/// Returns the error of a call from the error that its middleware has seen.
pub(in crate::client) fn typed_error<E>(
    error: CallError<ErrorObject>,
    read: ReadError<E>,
) -> CallError<E> {
    let object = match error {
        CallError::Application(object) | CallError::Remote(object) => object,
        CallError::Timeout => return CallError::Timeout,
        CallError::TimeoutAtLimit(waited) => return CallError::TimeoutAtLimit(waited),
        CallError::TimeoutBehindItems(limit) => return CallError::TimeoutBehindItems(limit),
        CallError::Cancelled => return CallError::Cancelled,
        CallError::StreamEnded => return CallError::StreamEnded,
        CallError::Connection {
            execution,
            reason,
            retries_exhausted,
        } => {
            return CallError::Connection {
                execution,
                reason,
                retries_exhausted,
            };
        }
        CallError::Encode(reason) => return CallError::Encode(reason),
        CallError::Decode(reason) => return CallError::Decode(reason),
    };
    if let Some(reason) = object.unwritable() {
        return CallError::Encode(reason.to_owned());
    }
    // The error is read as one that was received.
    let reader = ResultReader {
        value: |_| Ok(()),
        error: read,
        unparsed: None,
    };
    match decode_reply(reader, &mut error_message(&object), &mut (), |_, _| ()) {
        Some(Err(error)) => error,
        _ => CallError::Remote(object),
    }
}

/// Returns a response with this error.
fn error_message(error: &ErrorObject) -> Vec<u8> {
    let mut line = Vec::from(HEAD);
    line.push(b'0');
    line.extend_from_slice(ERROR);
    line.extend_from_slice(error.code().to_string().as_bytes());
    line.extend_from_slice(MESSAGE);
    write_string(error.message(), &mut line);
    if let Some(data) = error.raw_data() {
        line.extend_from_slice(DATA);
        line.extend_from_slice(data.as_bytes());
    }
    line.extend_from_slice(b"}}");
    line
}
