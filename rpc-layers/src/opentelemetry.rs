//! Propagates traces between services with OpenTelemetry.

use std::sync::Arc;

use opentelemetry::Context as TraceContext;
use opentelemetry::global::get_text_map_propagator;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{FutureExt, TraceContextExt};
use rpc_runtime::description::ServiceDescription;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response, ServerLayer};
use rpc_runtime::{Context, Service};
use tower_layer::Layer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::trace;

/// Creates the spans of [`TracingLayer`](crate::TracingLayer) as children of the callers' spans. Use it in place of
/// that layer.
///
/// The caller's context is sent in the metadata of its calls, where [`propagate`] puts it. The propagator is the one
/// installed with [`opentelemetry::global::set_text_map_propagator`]. `TraceContextPropagator` of `opentelemetry_sdk`
/// reads and writes `traceparent` and `tracestate` as in [W3C Trace Context](https://www.w3.org/TR/trace-context/). The
/// subscriber needs a layer of [`tracing_opentelemetry`], which exports the spans.
///
/// ```
/// use opentelemetry::trace::TracerProvider;
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use rpc_layers::{OpenTelemetryLayer, propagate};
/// use rpc_runtime::{Client, rpc};
/// use tower::ServiceBuilder;
/// use tracing_subscriber::layer::SubscriberExt;
/// # #[rpc]
/// # trait Greeter { async fn greet(&self, name: &str) -> String; }
/// # struct Hello;
/// # impl Greeter for Hello { async fn greet(&self, name: &str) -> String { name.into() } }
///
/// # #[tokio::main]
/// # async fn main() {
/// let provider = SdkTracerProvider::builder().build(); // with an exporter
/// let export = tracing_opentelemetry::layer().with_tracer(provider.tracer("greeter"));
/// tracing::subscriber::set_global_default(tracing_subscriber::registry().with(export)).unwrap();
/// opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
///
/// let service = ServiceBuilder::new()
///     .layer(OpenTelemetryLayer::new())
///     .service(GreeterServer::new(Hello));
/// let client = Client::builder().metadata(propagate).local(service); // or `.connect(address).await`
/// GreeterClient::new(client).greet("Ada").await.unwrap();
/// # }
/// ```
///
/// The caller's context goes on to the calls that the handler makes, whether or not the span is recorded: also if a filter
/// of `tracing` disables the span, if the sampler drops it, and without any subscriber.
///
/// If no subscriber is interested in the span and the call has no metadata, the cost of a call is two checks.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenTelemetryLayer(());

impl OpenTelemetryLayer {
    /// Creates the layer, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S: Service> Layer<S> for OpenTelemetryLayer {
    type Service = Layered<OpenTelemetry, S>;

    fn layer(&self, service: S) -> Self::Service {
        Layered::new(OpenTelemetry(()), service)
    }
}

impl ServerLayer for OpenTelemetryLayer {
    type Middleware = OpenTelemetry;

    fn middleware(self: &Arc<Self>, _: &'static ServiceDescription) -> OpenTelemetry {
        OpenTelemetry(())
    }
}

/// The middleware with which [`OpenTelemetryLayer`] wraps a service.
#[derive(Debug)]
pub struct OpenTelemetry(());

impl Middleware for OpenTelemetry {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let span = trace::span(call);
        if call.context().metadata().next().is_none() {
            return match span.is_disabled() {
                true => next.run().await,
                false => trace::run(next, span).await,
            };
        }
        let received = Received(call.context());
        let parent = get_text_map_propagator(|propagator| propagator.extract(&received));
        // The caller's context is current while the handler runs, so that `propagate` finds it even if no span of the call
        // is exported. A span that is exported takes precedence.
        if span.is_disabled() {
            return next.run().with_context(parent).await;
        }
        if parent.span().span_context().is_remote() {
            // Fails without a layer of `tracing_opentelemetry`, which then exports no spans.
            let _ = span.set_parent(parent.clone());
        }
        trace::run(next, span).with_context(parent).await
    }
}

/// The metadata of a received call. A span keeps the values that the propagator reads and is exported with them. Values
/// longer than the limits of [W3C Trace Context](https://www.w3.org/TR/trace-context/#tracestate-limits) and
/// [W3C Baggage](https://www.w3.org/TR/baggage/#limits) are therefore left out.
struct Received<'c>(&'c Context);

impl Extractor for Received<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let longest = match key {
            "baggage" => 8 << 10,
            _ => 512,
        };
        self.0.meta(key).filter(|value| value.len() <= longest)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.metadata().map(|(name, _)| name).collect()
    }
}

/// Puts the current trace into the metadata of a client's calls:
/// [`ClientBuilder::metadata(propagate)`](rpc_runtime::ClientBuilder::metadata).
///
/// The current trace is that of the [`tracing`] span in which the call is created, or else OpenTelemetry's own.
pub fn propagate(add: &mut dyn FnMut(&str, &str)) {
    let current = Span::current().context();
    let current = match current.has_active_span() {
        true => current,
        false => TraceContext::current(),
    };
    get_text_map_propagator(|propagator| propagator.inject_context(&current, &mut Sent(add)));
}

/// The metadata of a call to be sent.
pub(crate) struct Sent<'a>(pub(crate) &'a mut dyn FnMut(&str, &str));

impl Injector for Sent<'_> {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` carries no information.
        if !value.is_empty() {
            (self.0)(key, &value);
        }
    }
}
