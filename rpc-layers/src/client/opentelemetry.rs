//! Sends the trace of a client's calls to their servers.

use opentelemetry::global::get_text_map_propagator;
use opentelemetry::trace::TraceContextExt;
use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientRequest, ClientResponse,
};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::client::trace;
use crate::opentelemetry::{Sent, propagate};

/// Creates the spans of [`ClientTracing`](crate::ClientTracing), and sends their context in the metadata of the calls. Use it
/// in place of that middleware.
///
/// The server's [`OpenTelemetryLayer`](crate::OpenTelemetryLayer) creates its span as a child of the client's. The propagator
/// is the one installed with [`opentelemetry::global::set_text_map_propagator`], as for that layer.
///
/// If no subscriber is interested in the span of a call, the context of the current span is sent, as [`propagate`] does. So a
/// filter of the client does not interrupt a trace. With this middleware,
/// [`ClientBuilder::metadata(propagate)`](rpc_runtime::ClientBuilder::metadata) is not needed.
///
/// ```
/// use opentelemetry::trace::TracerProvider;
/// use opentelemetry_sdk::propagation::TraceContextPropagator;
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use rpc_layers::{ClientOpenTelemetry, OpenTelemetryLayer};
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
/// let client = Client::builder()
///     .middleware(ClientOpenTelemetry::new())
///     .local(service); // or `.connect(address).await`
/// GreeterClient::new(client).greet("Ada").await.unwrap();
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientOpenTelemetry(());

impl ClientOpenTelemetry {
    /// Creates the middleware, which has no options.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ClientMiddleware for ClientOpenTelemetry {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let span = trace::span(request);
        let context = span.context();
        let mut add = |name: &str, value: &str| request.set_meta(name, value);
        match !span.is_disabled() && context.has_active_span() {
            true => get_text_map_propagator(|propagator| {
                propagator.inject_context(&context, &mut Sent(&mut add));
            }),
            false => propagate(&mut add),
        }
        match span.is_disabled() {
            true => next.run(request).await,
            false => trace::run(request, next, span).await,
        }
    }

    fn attempt_ended(&self, request: &ClientRequest, attempt: &Attempt) {
        trace::record_attempt(request, attempt);
    }
}
