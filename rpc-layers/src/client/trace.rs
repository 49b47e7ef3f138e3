//! Creates a span for each call of a client.

use std::time::Instant;

use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientOutcome, ClientRequest, ClientResponse,
};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// Creates a [`tracing`] span for each call of a client, in which the middlewares inside of it run.
///
/// The span has the name `call`, the level `INFO` and the target `rpc_layers`. Its fields have the names of
/// [OpenTelemetry's conventions](https://opentelemetry.io/docs/specs/semconv/rpc/), where those define one:
///
/// | field | value |
/// |---|---|
/// | `rpc.system.name` | `jsonrpc` |
/// | `rpc.service` | the trait; none for a call by name |
/// | `rpc.method` | the method's name on the wire |
/// | `rpc.kind` | `call`, `stream` or `notification` |
/// | `server.address`, `server.port` | the server of the last attempt; none in the same process |
/// | `rpc.attempts` | at the end: how often the call was sent |
/// | `outcome` | at the end: [`ClientOutcome::as_str`] |
/// | `rpc.response.status_code` | at the end: the code of the error, if the call failed with one |
/// | `duration` | at the end: in seconds |
/// | `otel.name`, `otel.kind`, `otel.status_code` | fields for `tracing-opentelemetry`: the method's name, `client`, and `ERROR` if the call fails |
///
/// An attempt after which the call is not over, because it is sent again, writes the event `attempt failed` with the level
/// `DEBUG` in the span, with its `number`, its `outcome` and its `duration`.
///
/// The span of a call that is dropped ends with the outcome `cancelled`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientTracing(());

impl ClientTracing {
    /// Creates the middleware, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ClientMiddleware for ClientTracing {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let span = span(request);
        match span.is_disabled() {
            true => next.run(request).await,
            false => run(request, next, span).await,
        }
    }

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        record_attempt(request, attempt);
    }
}

/// Creates the span of a call.
pub(crate) fn span(request: &ClientRequest) -> Span {
    tracing::info_span!(
        target: "rpc_layers",
        "call",
        otel.name = request.method_name(),
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system.name = "jsonrpc",
        rpc.service = request.service().map(|service| service.name),
        rpc.method = request.method_name(),
        rpc.kind = kind(request),
        server.address = Empty,
        server.port = Empty,
        rpc.attempts = Empty,
        rpc.response.status_code = Empty,
        outcome = Empty,
        duration = Empty,
    )
}

fn kind(request: &ClientRequest) -> &'static str {
    let has_upload = || {
        request
            .method()
            .is_some_and(|method| method.upload.is_some())
    };
    match request.is_notification() {
        true => "notification",
        false if request.is_stream() || has_upload() => "stream",
        false => "call",
    }
}

/// The span of a call, and how often the call was sent.
struct CallSpan(Span);

/// Runs a call in its span, and records in it how the call ended.
pub(crate) async fn run(
    request: &mut ClientRequest,
    next: ClientNext<'_>,
    span: Span,
) -> ClientResponse {
    let start = Instant::now();
    request.extensions().insert(CallSpan(span.clone()));
    let ended = span.clone();
    let observed = next.observe(request, move |outcome| {
        ended.record("duration", start.elapsed().as_secs_f64());
        record_outcome(&ended, outcome);
    });
    observed.instrument(span).await
}

fn record_outcome(span: &Span, outcome: ClientOutcome) {
    span.record("outcome", outcome.as_str());
    if let Some(code) = outcome.code() {
        span.record("rpc.response.status_code", code);
    }
    if outcome != ClientOutcome::Success {
        span.record("otel.status_code", "ERROR");
    }
}

/// Records an attempt in the span of its call.
pub(crate) fn record_attempt(request: &ClientRequest, attempt: &Attempt) {
    let Some(span) = request.extensions().get::<CallSpan>() else {
        return;
    };
    let CallSpan(span) = &*span;
    span.record("rpc.attempts", attempt.number());
    if let Some(server) = attempt.server() {
        span.record("server.address", display(server.ip()));
        span.record("server.port", server.port());
    }
    if attempt.outcome() != ClientOutcome::Success {
        tracing::debug!(
            target: "rpc_layers",
            parent: span,
            number = attempt.number(),
            outcome = attempt.outcome().as_str(),
            duration = attempt.duration().as_secs_f64(),
            "attempt failed"
        );
    }
}
