//! Spans of calls.

use std::sync::{Arc, Mutex};

use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use rpc_layers::{OpenTelemetryLayer, TracingLayer};
use rpc_runtime::{Client, ErrorObject, rpc};
use tower::ServiceBuilder;
use tower_layer::Layer as _;
use tracing::info;

use crate::support::capture::Spans;
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

#[tokio::test]
async fn calls_that_end_in_any_way_have_one_span() {
    let spans = Spans::default();
    let _subscribed = spans.subscribe();
    make_calls(|desk| TracingLayer::new().layer(desk)).await;
    let spans = spans.take();
    let told = spans.iter().map(|span| {
        let field = |name| span.fields.get(name);
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
            .find(|span| span.fields.get("rpc.method") == Some(method))
            .and_then(|span| span.fields.get("rpc.kind"))
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
    let _subscribed = spans.subscribe();
    let service = ServiceBuilder::new()
        .layer(TracingLayer::new())
        .service(CalculatorServer::new(Desk));
    let calculator = CalculatorClient::new(Client::local(service));

    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let add = calculator.add(1, 2).meta("traceparent", traceparent);
    assert_eq!(add.meta("tracestate", "a=1").await.unwrap(), 3);
    calculator.divide(1, 0).await.unwrap_err();

    let spans = spans.take();
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
    ] {
        assert_eq!(add.fields.get(field), Some(value), "{field}");
    }
    let messages = add.events.iter().map(|event| event.get("message"));
    assert_eq!(messages.collect::<Vec<_>>(), [Some("adding")]);
    for absent in [
        "network.peer.address",
        "rpc.response.status_code",
        "otel.status_code",
    ] {
        assert_eq!(add.fields.get(absent), None, "{absent}");
    }
    assert!(add.fields.0["duration"].parse::<f64>().unwrap() > 0.0);
    for (field, value) in [
        ("rpc.method", "sums.divide"),
        ("outcome", "error"),
        ("rpc.response.status_code", "7"),
        ("otel.status_code", "ERROR"),
    ] {
        assert_eq!(divide.fields.get(field), Some(value), "{field}");
    }
    assert_eq!(divide.fields.get("traceparent"), None);
}

#[tokio::test]
async fn trace_context_of_a_peer_is_escaped_and_truncated_in_the_span() {
    let spans = Spans::default();
    let _subscribed = spans.subscribe();
    let service = OpenTelemetryLayer::new().layer(CalculatorServer::new(Desk));
    let calculator = CalculatorClient::new(Client::local(TracingLayer::new().layer(service)));
    let state = format!("a\nFORGED \u{1b}[2J\u{202e}{}", "x".repeat(8 << 10));
    let add = calculator.add(1, 2).meta("tracestate", &state);
    assert_eq!(add.meta("traceparent", &state).await.unwrap(), 3);
    let spans = spans.take();
    assert_eq!(spans.len(), 2);
    for span in &spans {
        for field in ["traceparent", "tracestate"] {
            let shown = &span.fields.0[field];
            assert!(
                shown.starts_with(r"a\nFORGED \u{1b}[2J\u{202e}xx"),
                "{shown}"
            );
            assert!(shown.ends_with("x…"), "{shown}");
        }
        // No field has an end that the peer sets.
        let all = span.events.iter().chain([&span.fields]);
        let mut values = all.flat_map(|fields| fields.0.values());
        assert!(values.all(|value| value.len() <= 128 + "…".len()));
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
    let _subscribed = Spans::default().subscribe();
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
