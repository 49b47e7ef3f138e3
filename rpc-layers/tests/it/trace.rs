//! Spans of calls.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use rpc_layers::{OpenTelemetryLayer, TracingLayer};
use rpc_runtime::{Client, ErrorObject, rpc};
use tower::ServiceBuilder;
use tower_layer::Layer as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, info};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{ENDS, make_calls};

#[rpc(namespace = "sums")]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, a: i64, b: i64) -> Result<i64, ErrorObject>;
}

struct Desk;

impl Calculator for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        tokio::task::yield_now().await;
        info!("adding");
        a + b
    }

    async fn divide(&self, a: i64, b: i64) -> Result<i64, ErrorObject> {
        let by_zero = ErrorObject::new(7, "division by zero");
        a.checked_div(b).ok_or(by_zero)
    }
}

/// The fields of a span and of its events.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Keeps closed spans.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if let Some(span) = context.event_span(event) {
            let mut extensions = span.extensions_mut();
            event.record(extensions.get_mut::<Fields>().unwrap());
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Fields>().unwrap();
        if span.metadata().target() == "rpc_layers" {
            self.0.lock().unwrap().push(fields);
        }
    }
}

/// Subscribes `spans` on the current thread.
fn subscribe(spans: &Spans) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()))
}

#[tokio::test]
async fn calls_that_end_in_any_way_have_one_span() {
    let spans = Spans::default();
    let _subscribed = subscribe(&spans);
    make_calls(|desk| TracingLayer::new().layer(desk)).await;
    let spans = spans.0.lock().unwrap();
    let told = spans.iter().map(|span| {
        let field = |name| span.0.get(name).map(String::as_str);
        (
            field("rpc.method"),
            field("outcome"),
            field("rpc.response.status_code").map(str::to_owned),
        )
    });
    let ends = ENDS.map(|(method, outcome)| {
        let code = outcome.code().map(|code| code.to_string());
        (Some(method), Some(outcome.as_str()), code)
    });
    assert_eq!(told.collect::<Vec<_>>(), ends);
    let kinds = |method| {
        spans
            .iter()
            .find(|span| span.0["rpc.method"] == method)
            .map(|span| span.0["rpc.kind"].as_str())
    };
    for (method, kind) in [
        ("desk.add", "call"),
        ("desk.note", "notification"),
        ("desk.count", "stream"),
        ("desk.sum", "stream"),
    ] {
        assert_eq!(kinds(method), Some(kind), "{method}");
    }
}

#[tokio::test]
async fn span_of_a_call_has_its_method_and_outcome() {
    let spans = Spans::default();
    let _subscribed = subscribe(&spans);
    let service = ServiceBuilder::new()
        .layer(TracingLayer::new())
        .service(CalculatorServer::new(Desk));
    let calculator = CalculatorClient::new(Client::local(service));

    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let add = calculator.add(1, 2).meta("traceparent", traceparent);
    assert_eq!(add.meta("tracestate", "a=1").await.unwrap(), 3);
    calculator.divide(1, 0).await.unwrap_err();

    let spans = std::mem::take(&mut *spans.0.lock().unwrap());
    let [add, divide] = &spans[..] else {
        panic!("{} spans", spans.len());
    };
    for (field, value) in [
        ("otel.kind", "server"),
        ("otel.name", "sums.add"),
        ("rpc.system.name", "jsonrpc"),
        ("rpc.service", "Calculator"),
        ("rpc.method", "sums.add"),
        ("rpc.kind", "call"),
        ("traceparent", traceparent),
        ("tracestate", "a=1"),
        ("outcome", "success"),
        ("message", "adding"),
    ] {
        assert_eq!(add.0.get(field).map(String::as_str), Some(value), "{field}");
    }
    for absent in [
        "network.peer.address",
        "rpc.response.status_code",
        "otel.status_code",
    ] {
        assert_eq!(add.0.get(absent), None, "{absent}");
    }
    assert!(add.0["duration"].parse::<f64>().unwrap() > 0.0);
    for (field, value) in [
        ("rpc.method", "sums.divide"),
        ("outcome", "error"),
        ("rpc.response.status_code", "7"),
        ("otel.status_code", "ERROR"),
    ] {
        assert_eq!(
            divide.0.get(field).map(String::as_str),
            Some(value),
            "{field}"
        );
    }
    assert_eq!(divide.0.get("traceparent"), None);
}

#[tokio::test]
async fn trace_context_of_a_peer_is_escaped_and_truncated_in_the_span() {
    let spans = Spans::default();
    let _subscribed = subscribe(&spans);
    let service = OpenTelemetryLayer::new().layer(CalculatorServer::new(Desk));
    let calculator = CalculatorClient::new(Client::local(TracingLayer::new().layer(service)));
    let state = format!("a\nFORGED \u{1b}[2J\u{202e}{}", "x".repeat(8 << 10));
    let add = calculator.add(1, 2).meta("tracestate", &state);
    assert_eq!(add.meta("traceparent", &state).await.unwrap(), 3);
    let spans = std::mem::take(&mut *spans.0.lock().unwrap());
    assert_eq!(spans.len(), 2);
    for span in &spans {
        for field in ["traceparent", "tracestate"] {
            let shown = &span.0[field];
            assert!(
                shown.starts_with(r"a\nFORGED \u{1b}[2J\u{202e}xx"),
                "{shown}"
            );
            assert!(shown.ends_with("x…"), "{shown}");
        }
        // No field has an end that the peer sets.
        assert!(span.0.values().all(|value| value.len() <= 128 + "…".len()));
    }
}

/// Records the length of what it finds of a trace context, and takes nothing of it.
#[derive(Debug)]
struct Lengths(Arc<Mutex<Vec<Option<usize>>>>);

impl TextMapPropagator for Lengths {
    fn inject_context(&self, _: &opentelemetry::Context, _: &mut dyn Injector) {}

    fn extract_with_context(
        &self,
        context: &opentelemetry::Context,
        extractor: &dyn Extractor,
    ) -> opentelemetry::Context {
        let found = ["tracestate", "baggage"].map(|name| extractor.get(name).map(str::len));
        self.0.lock().unwrap().extend(found);
        context.clone()
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&[])
    }
}

#[tokio::test]
async fn trace_context_past_its_limit_is_not_taken_into_the_trace() {
    let _subscribed = subscribe(&Spans::default());
    let lengths = Arc::default();
    opentelemetry::global::set_text_map_propagator(Lengths(Arc::clone(&lengths)));
    let service = OpenTelemetryLayer::new().layer(CalculatorServer::new(Desk));
    let calculator = CalculatorClient::new(Client::local(service));
    let found = async |state: usize, baggage: usize| {
        let add = calculator.add(1, 2);
        let add = add.meta("tracestate", &"x".repeat(state));
        let add = add.meta("baggage", &"x".repeat(baggage));
        assert_eq!(add.await.unwrap(), 3);
        std::mem::take(&mut *lengths.lock().unwrap())
    };
    assert_eq!(found(512, 8 << 10).await, [Some(512), Some(8 << 10)]);
    assert_eq!(found(513, (8 << 10) + 1).await, [None, None]);
}
