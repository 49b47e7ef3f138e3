//! Spans of a client's calls, and the trace that they send.

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rpc_layers::{ClientOpenTelemetry, ClientTracing};
use rpc_runtime::{Client, Identity, Server, Trust};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};

use crate::calls::{Again, Clerk, DeskClient, DeskServer, ENDS, local, make_calls};
use crate::capture::{Fields, Spans};

#[tokio::test]
async fn calls_that_end_in_any_way_have_one_span() {
    let spans = Spans::default();
    let _subscribed = spans.subscribe();
    let (client, desk) =
        local(|builder| builder.middleware(ClientTracing::new()).middleware(Again));
    make_calls(client, desk).await;

    let spans = spans.take();
    assert_eq!(spans.len(), ENDS.len());
    for (span, (method, outcome, code, attempts)) in spans.iter().zip(ENDS) {
        let field = |name| span.fields.get(name).unwrap_or_default();
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
    let attempts = spans.iter().map(|span| {
        let of_layers = |event: &&Fields| event.get("target") == Some("rpc_layers");
        span.events.iter().filter(of_layers).count()
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [0, 1, 1, 0, 0, 0, 1, 1, 0]);
}

#[tokio::test]
async fn span_has_the_address_of_the_server() {
    let spans = Spans::default();
    let _subscribed = spans.subscribe();
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
    let spans = spans.take();
    assert_eq!(spans[0].fields.get("server.address"), Some("127.0.0.1"));
    assert_eq!(spans[0].fields.0["server.port"], address.port().to_string());
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
