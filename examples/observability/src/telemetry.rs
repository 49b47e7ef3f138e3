//! Exports spans and metrics. In production they go to a collector and to a port that Prometheus reads.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

/// The bounds of the buckets of durations, in seconds, as OpenTelemetry's conventions define them for calls.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Installs the exporters. Call it once in a program, and before a layer is put around a service.
pub fn install() -> Result<(Spans, PrometheusHandle), Box<dyn Error + Send + Sync>> {
    let spans = Spans::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(spans.clone())
        .build();
    let export = tracing_opentelemetry::layer().with_tracer(provider.tracer("observability"));
    // The more detailed spans, such as quinn's, are left out.
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(export);
    tracing::subscriber::set_global_default(subscriber)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    let durations = Matcher::Suffix("_seconds".into());
    let metrics = PrometheusBuilder::new().set_buckets_for_metric(durations, &BUCKETS)?;
    Ok((spans, metrics.install_recorder()?))
}

/// Prints spans when they end, and keeps them.
#[derive(Debug, Clone, Default)]
pub struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    /// Returns the spans that came since the last call of this method.
    pub fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &batch {
            let took = span
                .end_time
                .duration_since(span.start_time)
                .unwrap_or_default();
            println!(
                "trace {} span {} parent {} {:?} {}{} {took:?}",
                span.span_context.trace_id(),
                span.span_context.span_id(),
                span.parent_span_id,
                span.span_kind,
                span.name,
                match span.status {
                    Status::Error { .. } => ": failed",
                    _ => "",
                },
            );
        }
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(batch);
        Ok(())
    }
}
