//! Checks that the spans of a call are one trace, each the child of its caller's, and that the metrics count the call.

use std::time::Duration;

use observability::link::{connect, serve};
use observability::services::{Keeper, Shelf, ShopClient, ShopServer, StockClient, StockServer};
use observability::telemetry;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use rpc_runtime::Limits;

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
    let ask = async |item: &'static str| soon(shop.price(item, 3)).await;

    // The traces of two calls at the same time do not mix.
    let (pear, melon) = tokio::join!(ask("pear"), ask("melon"));
    assert_eq!(
        (pear.unwrap(), melon.unwrap_err().to_string()),
        (9, "no such item (code 404)".into())
    );
    let spans = spans.take();
    assert_eq!(spans.len(), 8);
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
        let child = |parent: &SpanData, kind: SpanKind| {
            let mut children = spans
                .iter()
                .filter(|span| span.parent_span_id == parent.span_context.span_id());
            let child = children.next().expect("it has a child");
            assert!(children.next().is_none());
            assert_eq!(child.span_context.trace_id(), ask.span_context.trace_id());
            assert_eq!(child.parent_span_is_remote, kind == SpanKind::Server);
            assert_eq!(child.span_kind, kind);
            child
        };
        assert_eq!(ask.span_kind, SpanKind::Client);
        let in_shop = child(ask, SpanKind::Server);
        let of_shop = child(in_shop, SpanKind::Client);
        let in_stock = child(of_shop, SpanKind::Server);
        for (span, service, method) in [
            (ask, "Shop", "price"),
            (in_shop, "Shop", "price"),
            (of_shop, "Stock", "stock.price"),
            (in_stock, "Stock", "stock.price"),
        ] {
            assert_eq!(span.name, method);
            assert_eq!(attribute(span, "rpc.service").as_deref(), Some(service));
            let address = match span.span_kind {
                SpanKind::Client => "server.address",
                _ => "network.peer.address",
            };
            assert_eq!(attribute(span, address).as_deref(), Some("127.0.0.1"));
            let outcome = match in_shop.status {
                Status::Error { .. } => "error",
                _ => "success",
            };
            assert_eq!(attribute(span, "outcome").as_deref(), Some(outcome));
        }
    }
    let failed = spans
        .iter()
        .filter(|span| matches!(span.status, Status::Error { .. }));
    let codes = failed.map(|span| attribute(span, "rpc.response.status_code").unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["404"; 4]);

    let metrics = metrics.render();
    for line in [
        "# TYPE rpc_server_calls_total counter",
        r#"rpc_server_calls_total{service="Shop",method="price",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="Shop",method="price",outcome="error",code="404"} 1"#,
        r#"rpc_server_calls_total{service="Stock",method="stock.price",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="Stock",method="stock.price",outcome="error",code="404"} 1"#,
        r#"rpc_client_calls_total{service="Shop",method="price",outcome="success",code=""} 1"#,
        r#"rpc_client_attempts_total{service="Stock",method="stock.price",outcome="error",code="404"} 1"#,
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
