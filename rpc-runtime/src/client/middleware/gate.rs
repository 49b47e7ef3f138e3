//! The gate at which the middleware's future and its call meet.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;
use tokio::time::Instant;

use crate::client::error::CallError;
use crate::client::metadata::MetadataWriter;
use crate::client::middleware::request::ClientRequest;
use crate::client::middleware::response::{Attempt, ClientOutcome, ClientResponse};
use crate::codec::error::ErrorObject;
use crate::sync::{self, Mutex};

/// Where the middleware's future and its call meet.
#[derive(Default)]
pub(in crate::client) struct RunGate(pub(super) Mutex<GateState>);

#[derive(Default)]
pub(super) struct GateState {
    pub(super) phase: RunPhase,
    /// The metadata of a run that is requested.
    pub(super) metadata: MetadataWriter,
    pub(super) attempts: u32,
    /// When the attempt was sent that has not ended yet.
    pub(super) sent_at: Option<Instant>,
    /// Attempts that the middleware has not seen yet.
    pub(super) ended: Vec<Attempt>,
    /// How the first run of a call that is sent at most once has failed.
    pub(super) failure: Option<CallError<ErrorObject>>,
    pub(super) aborted: Option<ClientOutcome>,
    pub(super) waker: Option<Waker>,
}

#[derive(Default)]
pub(super) enum RunPhase {
    /// The middleware does not run the call.
    #[default]
    Idle,
    Requested,
    Running,
    Done(ClientResponse),
}

impl GateState {
    pub(super) fn end_attempt(&mut self, outcome: ClientOutcome) -> Option<Attempt> {
        Some(Attempt {
            number: self.attempts,
            duration: self.sent_at.take()?.elapsed(),
            outcome,
            server: None,
        })
    }
}

impl RunGate {
    /// Returns how a call ended whose middleware is dropped.
    pub(super) fn aborted_with(&self) -> ClientOutcome {
        let aborted = sync::lock(&self.0).aborted;
        aborted.unwrap_or(ClientOutcome::Cancelled)
    }
}

/// The innermost layer: waits until the call has been sent and has ended.
pub(super) struct RunRequest<'n, R: Fn(&ClientRequest, &Attempt)> {
    gate: &'n RunGate,
    request: &'n mut ClientRequest,
    /// Reports attempts to the middleware.
    report: R,
    progress: RunProgress,
}

#[derive(PartialEq)]
enum RunProgress {
    New,
    Waiting,
    Done,
}

impl<'n, R: Fn(&ClientRequest, &Attempt)> RunRequest<'n, R> {
    pub(super) fn new(gate: &'n RunGate, request: &'n mut ClientRequest, report: R) -> Self {
        Self {
            gate,
            request,
            report,
            progress: RunProgress::New,
        }
    }
}

impl<R: Fn(&ClientRequest, &Attempt) + Unpin> Future for RunRequest<'_, R> {
    type Output = ClientResponse;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ClientResponse> {
        let this = self.get_mut();
        let is_new = this.progress == RunProgress::New;
        if is_new {
            // Lets other tasks run, and the time limit end the call, even if a middleware runs it again and again and each
            // run fails at once.
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        let mut state = sync::lock(&this.gate.0);
        if is_new {
            this.progress = RunProgress::Waiting;
            state.metadata = this.request.metadata.clone();
            state.phase = RunPhase::Requested;
        }
        this.request.attempts = state.attempts;
        let ended = mem::take(&mut state.ended);
        let response = match mem::take(&mut state.phase) {
            RunPhase::Done(response) => Some(response),
            phase => {
                state.phase = phase;
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    waker => *waker = Some(cx.waker().clone()),
                }
                None
            }
        };
        drop(state);
        ended
            .iter()
            .for_each(|attempt| (this.report)(this.request, attempt));
        match response {
            Some(response) => {
                this.progress = RunProgress::Done;
                Poll::Ready(response)
            }
            None => Poll::Pending,
        }
    }
}

impl<R: Fn(&ClientRequest, &Attempt)> Drop for RunRequest<'_, R> {
    fn drop(&mut self) {
        if self.progress != RunProgress::Waiting {
            return;
        }
        let mut state = sync::lock(&self.gate.0);
        state.phase = RunPhase::Idle;
        let outcome = state.aborted.unwrap_or(ClientOutcome::Cancelled);
        let mut ended = mem::take(&mut state.ended);
        ended.extend(state.end_attempt(outcome));
        self.request.attempts = state.attempts;
        drop(state);
        ended
            .iter()
            .for_each(|attempt| (self.report)(self.request, attempt));
    }
}
