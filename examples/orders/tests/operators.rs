//! Tests with real processes: restarts under load, health, certificates, metrics, and many short-lived clients.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{Process, Setup, soon};
use futures_util::TryStreamExt;
use orders::api::{NewOrder, Order};
use rpc_runtime::tls::Certificate;
use rpc_runtime::{CallError, Client, Trust};

/// Reads the acknowledgements of a load until there are `count` more of them.
async fn acknowledged(load: &mut Process, orders: &mut BTreeMap<String, u64>, count: usize) {
    let count = orders.len() + count;
    while orders.len() < count {
        let line = load.line_after("placed ").await;
        add(orders, &line);
    }
}

fn add(orders: &mut BTreeMap<String, u64>, line: &str) {
    let (key, id) = line.split_once(' ').unwrap();
    let before = orders.insert(key.to_owned(), id.parse().unwrap());
    assert_eq!(before, None, "{key} was acknowledged twice");
}

/// Stops a load, and checks that the user has exactly the orders that were acknowledged.
async fn assert_whole(
    setup: &Setup,
    replicas: &[SocketAddr],
    load: Process,
    mut acknowledged: BTreeMap<String, u64>,
) {
    load.signal("-TERM").await;
    let (rest, status) = load.output().await;
    assert!(status.success());
    for line in rest {
        add(&mut acknowledged, line.strip_prefix("placed ").unwrap());
    }
    let session = setup.session(replicas, "bob").await;
    let listed: Vec<Order> = soon(session.orders.list().try_collect()).await.unwrap();
    assert_eq!(listed.len(), acknowledged.len());
    let listed = listed.into_iter().map(|order| (order.key, order.id));
    assert_eq!(listed.collect::<BTreeMap<_, _>>(), acknowledged);
    session.close().await;
}

#[tokio::test]
async fn restart_of_all_replicas_under_load_loses_no_order_and_places_none_twice() {
    let setup = Setup::new().await;
    let names = ["one", "two"];
    let (one, two) = tokio::join!(setup.replica(names[0], &[]), setup.replica(names[1], &[]));
    let at = [one.address, two.address];
    let mut load = setup.customer(&at, "bob", &["load", "run"]);
    let mut orders = BTreeMap::new();
    acknowledged(&mut load, &mut orders, 40).await;
    let mut watching = setup.customer(&at, "bob", &["watch", "1"]);
    assert!(watching.line().await.unwrap().ends_with(" Placed"));
    let mut replicas = Vec::new();
    for (name, replica) in names.into_iter().zip([one, two]) {
        let address = replica.address.to_string();
        replica.stop().await;
        // The address is free as soon as the process has ended.
        replicas.push(setup.replica(name, &["--listen", &address]).await);
        acknowledged(&mut load, &mut orders, 40).await;
    }
    assert_whole(&setup, &at, load, orders).await;

    // The watcher went from one replica to the other, and back.
    let (_, status) = setup
        .customer(&at, "ada", &["advance", "1", "shipped"])
        .output()
        .await;
    assert!(status.success());
    let (lines, status) = watching.output().await;
    assert!(status.success());
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert!(line.ends_with(" Shipped"), "{line}");
}

#[tokio::test]
async fn replica_that_is_killed_under_load_loses_no_order_and_places_none_twice() {
    let setup = Setup::new().await;
    let (one, two) = tokio::join!(setup.replica("one", &[]), setup.replica("two", &[]));
    let at = [one.address, two.address];
    let mut load = setup.customer(&at, "bob", &["load", "run"]);
    let mut orders = BTreeMap::new();
    acknowledged(&mut load, &mut orders, 40).await;
    one.process.signal("-KILL").await;
    acknowledged(&mut load, &mut orders, 40).await;
    assert_whole(&setup, &[two.address], load, orders).await;
}

#[tokio::test]
async fn ledger_that_is_killed_under_load_has_every_acknowledged_order_once() {
    let mut setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let mut load = setup.customer(&at, "bob", &["load", "run"]);
    let mut orders = BTreeMap::new();
    for _ in 0..2 {
        acknowledged(&mut load, &mut orders, 40).await;
        setup.kill_ledger().await;
    }
    acknowledged(&mut load, &mut orders, 40).await;
    assert_whole(&setup, &at, load, orders).await;
}

#[tokio::test]
async fn call_to_a_ledger_that_hangs_ends_at_the_deadline_of_the_customer() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let session = setup.session(&[replica.address], "bob").await;
    let get = || session.orders.get(1).timeout(Duration::from_millis(300));
    assert_eq!(soon(get()).await.unwrap_err().code(), Some(404));
    setup.ledger_process.signal("-STOP").await;
    let start = Instant::now();
    assert!(matches!(soon(get()).await, Err(CallError::Timeout)));
    // The replica waits no longer, either. By itself it would wait for five seconds.
    let ended = ["timed_out", "cancelled"].map(|outcome| {
        format!(
            r#"rpc_client_calls_total{{service="Ledger",method="ledger.get",outcome="{outcome}""#
        )
    });
    let has_ended = |line: &str| {
        let starts = ended.iter().any(|start| line.starts_with(start));
        starts && line.ends_with(" 1")
    };
    while !replica.metrics().await.lines().any(has_ended) {
        assert!(start.elapsed() < Duration::from_secs(4));
    }
    setup.ledger_process.signal("-CONT").await;
    let error = soon(session.orders.get(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(404));
}

#[tokio::test]
async fn replica_that_is_told_to_stop_reports_it_and_serves_until_it_drains() {
    let setup = Setup::new().await;
    // Long enough that only the second signal ends it.
    let mut replica = setup.replica("one", &["--announce-ms", "600000"]).await;
    let at = [replica.address];
    let session = setup.session(&at, "bob").await;
    let health = || {
        let mut health = setup.health(at[0]);
        async move {
            let status = health.line().await.unwrap();
            (status, health.ended().await.success())
        }
    };
    assert_eq!(health().await, ("SERVING".to_owned(), true));
    replica.process.signal("-TERM").await;
    replica.process.line_after("not serving").await;
    // A probe makes a new connection, and calls are still served.
    assert_eq!(health().await, ("NOT_SERVING".to_owned(), false));
    let error = soon(session.orders.get(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(404));
    replica.process.signal("-TERM").await;
    assert!(replica.process.ended().await.success());
}

#[tokio::test]
async fn short_lived_clients_in_a_row_do_not_reach_the_limit_of_connections() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &["--connections", "4"]).await;
    for number in 0..24 {
        let key = number.to_string();
        let place = ["place", "pear", "1", &key];
        let (_, status) = setup
            .customer(&[replica.address], "bob", &place)
            .output()
            .await;
        assert!(status.success(), "{number}");
    }
    let metrics = replica.metrics().await;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim().to_owned())
    };
    assert_eq!(
        value("rpc_server_connections_total "),
        Some("24".to_owned())
    );
    assert_eq!(value("rpc_server_connections_refused_total"), None);
    assert_eq!(value("orders_placed_total "), Some("24".to_owned()));
}

#[tokio::test]
async fn new_certificate_is_used_at_sighup_and_connections_stay() {
    let setup = Setup::new().await;
    let mut replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let session = setup.session(&at, "bob").await;
    let certificate = setup.folder.identity().unwrap().certificate();
    setup.folder.renew_certificate().unwrap();
    let renewed = setup.folder.identity().unwrap().certificate();
    let connect = |certificate: &Certificate| {
        let exact = Trust::sha256(certificate.sha256());
        soon(Client::builder().trust(exact).connect(at[0]))
    };
    assert!(connect(&renewed).await.is_err());
    replica.process.signal("-HUP").await;
    replica.process.line_after("new certificate").await;
    connect(&renewed).await.unwrap().close().await;
    assert!(connect(&certificate).await.is_err());
    // Clients that trust the authority need nothing new.
    setup.session(&at, "eve").await;
    let error = soon(session.orders.get(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(404));
    replica.stop().await;
}

#[tokio::test]
async fn metrics_have_the_series_of_calls_connections_and_orders() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let session = setup.session(&at, "bob").await;
    let order = NewOrder {
        key: "a".to_owned(),
        item: "pear".to_owned(),
        count: 1,
    };
    soon(session.orders.place(order)).await.unwrap();
    soon(session.orders.get(7)).await.unwrap_err();
    let unknown = session.client().call::<(), _>("orders.delete", &());
    assert!(soon(unknown).await.is_err());
    let metrics = replica.metrics().await;
    for line in [
        r#"rpc_server_calls_total{service="Orders",method="orders.place",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="Orders",method="orders.get",outcome="error",code="404"} 1"#,
        r#"rpc_server_calls_total{service="Login",method="login.log_in",outcome="success",code=""} 1"#,
        r#"rpc_server_calls_total{service="_OTHER",method="_OTHER",outcome="error",code="-32601"} 1"#,
        r#"rpc_server_calls_in_flight{service="Orders",method="orders.place"} 0"#,
        r#"rpc_server_call_duration_seconds_count{service="Orders",method="orders.place"} 1"#,
        "rpc_server_connections_open 1",
        "rpc_server_connections_total 1",
        r#"rpc_client_calls_total{service="Ledger",method="ledger.place",outcome="success",code=""} 1"#,
        r#"rpc_client_attempts_total{service="Ledger",method="ledger.place",outcome="success",code=""} 1"#,
        "rpc_client_retries_total 0",
        "orders_placed_total 1",
        "orders_tokens_issued_total 2",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    let held = metrics
        .lines()
        .find(|line| line.starts_with("orders_memory_held_bytes "));
    assert!(held.is_some(), "{metrics}");
    session.close().await;
}
