//! Checks that the spans of a call are one trace, each the child of its caller's, and that the metrics count the call.

use std::time::Duration;

use observability::link::{connect, serve};
use observability::services::{Keeper, Shelf, ShopClient, ShopServer, StockClient, StockServer};
use observability::telemetry;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use rpc_runtime::Limits;
use tracing::{Instrument, info_span};

/// Fails the test if `future` takes more than 30 seconds.
async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.expect("soon")
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_crosses_two_services_and_calls_are_counted() {
    let (spans, metrics) = telemetry::install().unwrap();
    let stock = soon(connect(
        &serve(StockServer::new(Shelf), Limits::default()).unwrap(),
    ))
    .await
    .unwrap();
    let keeper = Keeper(StockClient::new(stock));
    let shop = soon(connect(
        &serve(ShopServer::new(keeper), Limits::default()).unwrap(),
    ))
    .await
    .unwrap();
    let shop = ShopClient::new(shop);
    let ask = |item: &'static str| {
        let call = async { soon(shop.price(item, 3)).await };
        call.instrument(info_span!("ask", otel.kind = "client"))
    };

    // The traces of two calls at the same time do not mix.
    let (pear, melon) = tokio::join!(ask("pear"), ask("melon"));
    assert_eq!(
        (pear.unwrap(), melon.unwrap_err().to_string()),
        (9, "no such item (code 404)".into())
    );
    let spans = spans.take();
    assert_eq!(spans.len(), 6);
    let roots = spans
        .iter()
        .filter(|span| span.parent_span_id == SpanId::INVALID);
    let roots: Vec<_> = roots.collect();
    let [first, second] = roots[..] else {
        panic!("{} roots", roots.len());
    };
    assert_ne!(
        first.span_context.trace_id(),
        second.span_context.trace_id()
    );
    for ask in roots {
        let child = |parent: &SpanData| {
            let mut children = spans
                .iter()
                .filter(|span| span.parent_span_id == parent.span_context.span_id());
            let child = children.next().expect("it has a child");
            assert!(children.next().is_none());
            assert_eq!(child.span_context.trace_id(), ask.span_context.trace_id());
            assert!(child.parent_span_is_remote);
            assert_eq!(child.span_kind, SpanKind::Server);
            child
        };
        let in_shop = child(ask);
        let in_stock = child(in_shop);
        assert_eq!((&*ask.name, &ask.span_kind), ("ask", &SpanKind::Client));
        for (span, service, method) in [
            (in_shop, "Shop", "price"),
            (in_stock, "Stock", "stock.price"),
        ] {
            assert_eq!(span.name, method);
            assert_eq!(attribute(span, "rpc.service").as_deref(), Some(service));
            assert_eq!(
                attribute(span, "network.peer.address").as_deref(),
                Some("127.0.0.1")
            );
        }
        let outcomes = [in_shop, in_stock].map(|span| attribute(span, "outcome").unwrap());
        match in_shop.status {
            Status::Error { .. } => assert_eq!(outcomes, ["error", "error"]),
            _ => assert_eq!(outcomes, ["success", "success"]),
        }
    }
    let failed = spans
        .iter()
        .filter(|span| matches!(span.status, Status::Error { .. }));
    let codes = failed.map(|span| attribute(span, "rpc.response.status_code").unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["404", "404"]);

    let metrics = metrics.render();
    for line in [
        "# TYPE rpc_server_calls_total counter",
        r#"rpc_server_calls_total{service="Shop",method="price",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="Shop",method="price",outcome="error",code="404"} 1"#,
        r#"rpc_server_calls_total{service="Stock",method="stock.price",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="Stock",method="stock.price",outcome="error",code="404"} 1"#,
        "# TYPE rpc_server_calls_in_flight gauge",
        r#"rpc_server_calls_in_flight{service="Shop",method="price"} 0"#,
        "# TYPE rpc_server_call_duration_seconds histogram",
        r#"rpc_server_call_duration_seconds_bucket{service="Shop",method="price",le="+Inf"} 2"#,
        r#"rpc_server_call_duration_seconds_count{service="Stock",method="stock.price"} 2"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
}
