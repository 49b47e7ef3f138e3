//! The caller's trace goes on to the calls of a handler, whatever is recorded of it.

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use rpc_layers::{OpenTelemetryLayer, propagate};
use rpc_runtime::{Client, rpc};
use tower_layer::Layer as _;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};

#[rpc]
trait Shop {
    /// Returns the `traceparent` of a call that the handler would make.
    async fn traceparent(&self) -> Option<String>;
}

struct Keeper;

impl Shop for Keeper {
    async fn traceparent(&self) -> Option<String> {
        tokio::task::yield_now().await;
        let mut found = None;
        propagate(&mut |name, value| {
            if name == "traceparent" {
                found = Some(value.to_owned());
            }
        });
        found
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn tracer(sampler: Sampler) -> SdkTracer {
    let provider = SdkTracerProvider::builder().with_sampler(sampler);
    provider.build().tracer("propagation")
}

/// Calls the service with the caller's trace, and without one.
async fn calls() -> (Option<String>, Option<String>) {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let service = OpenTelemetryLayer::new().layer(ShopServer::new(Keeper));
    let shop = ShopClient::new(Client::local(service));
    let with = shop.traceparent().meta("traceparent", CALLER);
    (with.await.unwrap(), shop.traceparent().await.unwrap())
}

fn subscribe(subscriber: impl tracing::Subscriber + Send + Sync) -> DefaultGuard {
    tracing::subscriber::set_default(subscriber)
}

#[tokio::test]
async fn trace_goes_on_without_a_subscriber() {
    assert_eq!(calls().await, (Some(CALLER.into()), None));
}

#[tokio::test]
async fn trace_goes_on_if_no_layer_exports_spans() {
    let _subscribed = subscribe(tracing_subscriber::registry());
    assert_eq!(calls().await, (Some(CALLER.into()), None));
}

#[tokio::test]
async fn trace_goes_on_if_a_filter_disables_the_span() {
    let export = tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOn));
    let registry = tracing_subscriber::registry().with(LevelFilter::WARN);
    let _subscribed = subscribe(registry.with(export));
    assert_eq!(calls().await, (Some(CALLER.into()), None));
}

#[tokio::test]
async fn trace_goes_on_if_only_the_exporter_does_not_see_the_span() {
    let export = tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOn));
    let export = export.with_filter(filter_fn(|span| span.target() != "rpc_layers"));
    let _subscribed = subscribe(tracing_subscriber::registry().with(export));
    assert_eq!(calls().await, (Some(CALLER.into()), None));
}

#[tokio::test]
async fn trace_goes_on_if_the_sampler_drops_the_span() {
    let export = tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOff));
    let _subscribed = subscribe(tracing_subscriber::registry().with(export));
    let sent = calls().await.0.unwrap();
    assert!(sent.starts_with(&format!("00-{TRACE}-")), "{sent}");
    assert!(sent.ends_with("-00"), "{sent}");
}

#[tokio::test]
async fn span_that_is_exported_is_the_parent_of_what_follows() {
    let export = tracing_opentelemetry::layer().with_tracer(tracer(Sampler::AlwaysOn));
    let _subscribed = subscribe(tracing_subscriber::registry().with(export));
    let sent = calls().await.0.unwrap();
    assert!(sent.starts_with(&format!("00-{TRACE}-")), "{sent}");
    assert!(sent.ends_with("-01") && sent != CALLER, "{sent}");
}
