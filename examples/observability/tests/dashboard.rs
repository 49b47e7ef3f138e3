//! Checks the dashboard of Grafana: its model, and that the programs export every metric and label that it shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use observability::link::{Served, connect, serve};
use observability::services::{Keeper, Shelf, ShopClient, ShopServer, StockClient, StockServer};
use observability::telemetry;
use rpc_runtime::{Client, Identity, Limits, Trust};
use serde_json::Value;

/// The variables that Grafana defines itself.
const BUILT_IN: [&str; 1] = ["__rate_interval"];

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../grafana.json")).unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name}"))
}

/// Returns the words of an expression.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Returns the names of the metrics in an expression.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    words(expression).filter(|word| word.starts_with("rpc_"))
}

/// Returns the labels by which an expression is summed.
fn labels(expression: &str) -> Vec<&str> {
    let by = expression.split(" by (").skip(1);
    let lists = by.filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(", ")).collect()
}

fn expressions(dashboard: &Value) -> impl Iterator<Item = &str> {
    let panels = list(dashboard, "panels").iter();
    let targets = panels.flat_map(|panel| list(panel, "targets"));
    targets.map(|target| text(target, "expr"))
}

#[test]
fn dashboard_has_the_members_that_grafana_needs() {
    let dashboard = dashboard();
    for name in ["title", "uid"] {
        assert!(!text(&dashboard, name).is_empty());
    }
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    let variables = list(&dashboard["templating"], "list");
    let variables: Vec<_> = variables
        .iter()
        .map(|variable| text(variable, "name"))
        .collect();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert_eq!(text(panel, "type"), "timeseries");
        assert_eq!(text(&panel["datasource"], "uid"), "${datasource}");
        let place = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        let [x, y, w, h] = place;
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} is above another panel");
        }
        let refs: BTreeSet<_> = list(panel, "targets")
            .iter()
            .map(|target| text(target, "refId"))
            .collect();
        assert_eq!(refs.len(), list(panel, "targets").len(), "{title}");
    }
    for expression in expressions(&dashboard) {
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |of| expression.chars().filter(|c| *c == of).count();
            assert_eq!(count(open), count(close), "{expression}");
        }
        for variable in expression.split('$').skip(1) {
            let name = words(variable).next().unwrap();
            assert!(
                variables.contains(&name) || BUILT_IN.contains(&name),
                "{name}"
            );
        }
        assert!(metrics(expression).next().is_some(), "{expression}");
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("soon")
}

/// Makes calls, connections and failures of every kind that the dashboard shows.
async fn make_events() -> Served {
    let stock = serve(StockServer::new(Shelf), Limits::default()).unwrap();
    let keeper = Keeper(StockClient::new(soon(connect(&stock)).await.unwrap()));
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        max_connections_per_address: 1,
        max_request_bytes: 2 << 10,
        ..Limits::default()
    };
    let shop = serve(ShopServer::new(keeper), limits).unwrap();
    let client = soon(connect(&shop)).await.unwrap();
    let prices = ShopClient::new(client.clone());
    // Calls that wait: for the server's limit, and for a stream of the connection.
    let calls = (0..101).map(|_| prices.price("pear", 1).dedicated_stream());
    for price in soon(join_all(calls.map(IntoFuture::into_future))).await {
        assert_eq!(price.unwrap(), 3);
    }
    // A call that fails, a request that is too large, and an unknown method.
    soon(prices.price("melon", 1)).await.unwrap_err();
    soon(prices.price(&"x".repeat(4 << 10), 1))
        .await
        .unwrap_err();
    soon(client.call::<u64, _>("sell", &())).await.unwrap_err();
    // A connection that is refused, a handshake that fails, and a connection that ends.
    soon(connect(&shop)).await.unwrap_err();
    let other = Identity::self_signed(["127.0.0.1"]).unwrap().certificate();
    let untrusting = Client::builder().trust(Trust::certificate(other));
    soon(untrusting.connect(stock.address)).await.unwrap_err();
    // A server that goes.
    stock.handle.shutdown(Duration::ZERO).await;
    shop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_and_label_of_the_dashboard_is_exported() {
    let (_spans, exported) = telemetry::install().unwrap();
    let _shop = make_events().await;
    let dashboard = dashboard();
    let missing = || {
        let mut labels_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let text = exported.render();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once(['{', ' ']).unwrap_or((line, ""));
            let found = labels_of.entry(name.to_owned()).or_default();
            let names = rest
                .split("=\"")
                .map(|before| before.rsplit([',', '"']).next());
            found.extend(names.flatten().map(str::to_owned));
        }
        let wanted = expressions(&dashboard).flat_map(|expression| {
            let labels = labels(expression);
            metrics(expression).map(move |metric| (metric, labels.clone()))
        });
        let missing = wanted.filter(|(metric, labels)| {
            let found = labels_of.get(*metric);
            !found.is_some_and(|found| labels.iter().all(|label| found.contains(*label)))
        });
        missing
            .map(|(metric, labels)| format!("{metric} {labels:?}"))
            .collect::<Vec<_>>()
    };
    // The client connects again in the background.
    let complete = async {
        while !missing().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let complete = tokio::time::timeout(Duration::from_secs(60), complete).await;
    assert!(complete.is_ok(), "{:?}\n{}", missing(), exported.render());
    for (line, value) in [
        (
            r#"rpc_server_connections_refused_total{limit="max_connections_per_address"}"#,
            "1",
        ),
        (
            r#"rpc_server_handshakes_failed_total{reason="server_certificate"}"#,
            "1",
        ),
        (
            r#"rpc_server_calls_rejected_total{limit="max_request_bytes",code="-32007"}"#,
            "1",
        ),
        (
            r#"rpc_server_calls_total{service="_OTHER",method="_OTHER",outcome="error",code="-32601"}"#,
            "1",
        ),
        (
            r#"rpc_client_calls_waiting{limit="max_dedicated_streams"}"#,
            "0",
        ),
    ] {
        let text = exported.render();
        assert!(
            text.lines().any(|found| found == format!("{line} {value}")),
            "{line}\n{text}"
        );
    }
}
