//! Writes an event when a call of a client ends.

use std::time::Instant;

use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientOutcome, ClientRequest, ClientResponse,
};

/// Writes a [`tracing`] event when a call of a client ends.
///
/// The events have the target `rpc_layers`. A call that fails is a warning, and any other call has the level `DEBUG`:
///
/// | level | event | fields |
/// |---|---|---|
/// | `WARN` | `call failed` | `service`, `method`, `outcome`, `code`, `reason`, `attempts`, `duration` |
/// | `DEBUG` | `call ended` | `service`, `method`, `outcome`, `attempts`, `duration` |
/// | `DEBUG` | `call dropped` | `service`, `method`, `outcome`, `attempts`, `duration` |
/// | `DEBUG` | `attempt failed` | `service`, `method`, `number`, `outcome`, `duration`, `server` |
///
/// `reason` is the error as [`CallError`](rpc_runtime::CallError) displays it, `duration` is in seconds, and `outcome` is
/// [`ClientOutcome::as_str`]. `call dropped` is the end of a call whose future was dropped: the caller dropped it, or its
/// time limit passed while a middleware waited. Arguments, results and metadata are not written.
///
/// Each failed call writes a warning. A server whose calls all fail thus fills the log at the rate of the calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientLogging(());

impl ClientLogging {
    /// Creates the middleware, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ClientMiddleware for ClientLogging {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let start = Instant::now();
        let mut dropped = LogIfDropped {
            request,
            start,
            has_ended: false,
        };
        let response = next.run(dropped.request).await;
        dropped.has_ended = true;
        let request = &*dropped.request;
        let duration = start.elapsed().as_secs_f64();
        let (outcome, attempts) = (response.outcome(), request.attempts());
        match response.failure() {
            None => tracing::debug!(
                target: "rpc_layers",
                service = service(request),
                method = request.method_name(),
                outcome = outcome.as_str(),
                attempts,
                duration,
                "call ended"
            ),
            Some(error) => tracing::warn!(
                target: "rpc_layers",
                service = service(request),
                method = request.method_name(),
                outcome = outcome.as_str(),
                code = outcome.code(),
                reason = %rpc_runtime::Escaped(&error.to_string()),
                attempts,
                duration,
                "call failed"
            ),
        }
        response
    }

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        if attempt.outcome() == ClientOutcome::Success {
            return;
        }
        tracing::debug!(
            target: "rpc_layers",
            service = service(request),
            method = request.method_name(),
            number = attempt.number(),
            outcome = attempt.outcome().as_str(),
            duration = attempt.duration().as_secs_f64(),
            server = attempt.server().map(tracing::field::display),
            "attempt failed"
        );
    }
}

fn service(request: &ClientRequest) -> Option<&'static str> {
    request.service().map(|service| service.name)
}

/// Writes an event for a call that is dropped before its end.
struct LogIfDropped<'r> {
    request: &'r mut ClientRequest,
    start: Instant,
    has_ended: bool,
}

impl Drop for LogIfDropped<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let outcome = match self.request.remaining() {
            Some(remaining) if remaining.is_zero() => ClientOutcome::TimedOut,
            _ => ClientOutcome::Cancelled,
        };
        tracing::debug!(
            target: "rpc_layers",
            service = service(self.request),
            method = self.request.method_name(),
            outcome = outcome.as_str(),
            attempts = self.request.attempts(),
            duration = self.start.elapsed().as_secs_f64(),
            "call dropped"
        );
    }
}
