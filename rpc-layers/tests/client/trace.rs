//! Spans of a client's calls, and the trace that they send.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rpc_layers::{ClientOpenTelemetry, ClientTracing};
use rpc_runtime::{Client, Identity, Server, Trust};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Instrument, Subscriber, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::calls::{Again, Clerk, DeskClient, DeskServer, ENDS, local, make_calls};

/// The fields of a span, and its events.
#[derive(Default)]
struct Fields {
    fields: BTreeMap<&'static str, String>,
    events: Vec<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
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
        let span = context.event_span(event);
        if let Some(span) = span.filter(|_| event.metadata().target() == "rpc_layers") {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut extensions = span.extensions_mut();
            let of_span = extensions.get_mut::<Fields>().unwrap();
            of_span.events.push(fields.fields["outcome"].clone());
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

#[tokio::test]
async fn calls_that_end_in_any_way_have_one_span() {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let (client, desk) =
        local(|builder| builder.middleware(ClientTracing::new()).middleware(Again));
    make_calls(client, desk).await;

    let spans = std::mem::take(&mut *spans.0.lock().unwrap());
    assert_eq!(spans.len(), ENDS.len());
    for (span, (method, outcome, code, attempts)) in spans.iter().zip(ENDS) {
        let field = |name| span.fields.get(name).map_or("", String::as_str);
        let kind = match method {
            "desk.note" => "notification",
            "desk.count" | "desk.sum" => "stream",
            _ => "call",
        };
        for (name, value) in [
            ("otel.kind", "client"),
            ("otel.name", method),
            ("rpc.system.name", "jsonrpc"),
            ("rpc.service", "Desk"),
            ("rpc.method", method),
            ("rpc.kind", kind),
            ("outcome", outcome),
            ("rpc.response.status_code", code),
            (
                "otel.status_code",
                if outcome == "success" { "" } else { "ERROR" },
            ),
            ("server.address", ""),
        ] {
            assert_eq!(field(name), value, "{method}, {name}");
        }
        let expected = (attempts > 0).then(|| attempts.to_string());
        assert_eq!(field("rpc.attempts"), expected.unwrap_or_default());
        assert!(field("duration").parse::<f64>().unwrap() >= 0.0);
    }
    let events: Vec<_> = spans.iter().map(|span| span.events.len()).collect();
    assert_eq!(events, [0, 1, 1, 0, 0, 0, 1, 1, 0]);
}

#[tokio::test]
async fn span_has_the_address_of_the_server() {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity).service(DeskServer::new(Clerk));
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run());
    let client = Client::builder()
        .trust(trust)
        .middleware(ClientTracing::new());
    let client = client.connect(address).await.unwrap();
    assert_eq!(DeskClient::new(client).add(1, 2).await.unwrap(), 3);
    let spans = spans.0.lock().unwrap();
    assert_eq!(spans[0].fields["server.address"], "127.0.0.1");
    assert_eq!(spans[0].fields["server.port"], address.port().to_string());
}

#[tokio::test]
async fn trace_that_is_sent_continues_that_of_the_caller_even_if_the_span_is_filtered() {
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    for is_filtered in [false, true] {
        let provider = SdkTracerProvider::builder().build();
        let export = tracing_opentelemetry::layer().with_tracer(provider.tracer("desk"));
        let level = match is_filtered {
            true => LevelFilter::OFF,
            false => LevelFilter::INFO,
        };
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("rpc_layers", level);
        let subscriber = tracing_subscriber::registry().with(export.with_filter(filter));
        let _subscribed = tracing::subscriber::set_default(subscriber);
        let (_, desk) = local(|builder| builder.middleware(ClientOpenTelemetry::new()));

        let span = info_span!("order");
        let context = span.context();
        let parent = context.span().span_context().clone();
        let sent = async { desk.meta("traceparent").await }.instrument(span);
        let sent = sent.await.unwrap().expect("a traceparent");
        let parts: Vec<_> = sent.split('-').collect();
        assert_eq!(parts[1], parent.trace_id().to_string());
        assert_eq!(parts[2] == parent.span_id().to_string(), is_filtered);
        assert_eq!(parts[3], "01");
    }
}
