//! Creates a span for each call.

use std::sync::Arc;

use std::time::Instant;

use rpc_runtime::description::MethodKind;
use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{Escaped, Service};
use tower_layer::Layer;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// Creates a [`tracing`] span for each call, in which its handler runs.
///
/// The span has the name `call`, the level `INFO` and the target `rpc_layers`. Its fields have the names of
/// [OpenTelemetry's conventions](https://opentelemetry.io/docs/specs/semconv/rpc/), where those define one:
///
/// | field | value |
/// |---|---|
/// | `rpc.system.name` | `jsonrpc` |
/// | `rpc.service` | the trait |
/// | `rpc.method` | the method's name on the wire |
/// | `rpc.method_original` | the name that the caller sent, [escaped](Escaped), if no service has the method; `rpc.method` is then `_OTHER` |
/// | `rpc.kind` | `call`, `stream` or `notification` |
/// | `network.peer.address`, `network.peer.port` | the caller's address; none in the same process |
/// | `traceparent`, `tracestate` | the caller's trace ([W3C Trace Context](https://www.w3.org/TR/trace-context/)), if it is in the call's metadata; [escaped](Escaped), up to 128 bytes of each |
/// | `outcome` | at the end: `success`, `error`, `cancelled`, `timed_out` or `panicked` |
/// | `rpc.response.status_code` | at the end: the code of the error, if the call failed |
/// | `duration` | at the end: in seconds |
/// | `otel.name`, `otel.kind`, `otel.status_code` | fields for `tracing-opentelemetry`: the method's name, `server`, and `ERROR` if the call ends with a code |
///
/// If no subscriber is interested in the span, the cost of a call is one check.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingLayer(());

impl TracingLayer {
    /// Creates the layer, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S: Service> Layer<S> for TracingLayer {
    type Service = Layered<Tracing, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(Tracing(()), service)
    }
}

impl ServerLayer for TracingLayer {
    type Middleware = Tracing;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> Tracing {
        Tracing(())
    }
}

/// The middleware with which [`TracingLayer`] wraps a service.
#[derive(Debug)]
pub struct Tracing(());

impl Middleware for Tracing {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let span = span(call);
        match span.is_disabled() {
            true => next.run().await,
            false => run(next, span).await,
        }
    }
}

/// Creates the span of a call.
pub(crate) fn span(call: RequestInfo<'_>) -> Span {
    let (method, context) = (call.method(), call.context());
    let peer = || context.peer();
    let received = |name| context.meta(name).map(|value| display(Escaped(value)));
    tracing::info_span!(
        target: "rpc_layers",
        "call",
        otel.name = method.name,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "jsonrpc",
        rpc.service = call.service().name,
        rpc.method = method.name,
        rpc.method_original = call.unknown_method().map(|name| display(Escaped(name))),
        rpc.kind = kind(call),
        network.peer.address = peer().map(|peer| display(peer.ip())),
        network.peer.port = peer().map(|peer| peer.port()),
        traceparent = received("traceparent"),
        tracestate = received("tracestate"),
        rpc.response.status_code = Empty,
        outcome = Empty,
        duration = Empty,
    )
}

fn kind(call: RequestInfo<'_>) -> &'static str {
    let method = call.method();
    match method.kind {
        MethodKind::Notification => "notification",
        MethodKind::Call if method.stream || method.upload.is_some() => "stream",
        MethodKind::Call => "call",
    }
}

/// Runs a call in its span, and records in it how the call ended.
pub(crate) async fn run<S: Service>(next: Next<'_, S>, span: Span) -> Response {
    let start = Instant::now();
    let ended = span.clone();
    let observed = next.observe(move |outcome| {
        ended.record("duration", start.elapsed().as_secs_f64());
        ended.record("outcome", outcome.as_str());
        if let Some(code) = outcome.code() {
            ended.record("rpc.response.status_code", code);
            ended.record("otel.status_code", "ERROR");
        }
    });
    observed.instrument(span).await
}
