//! Tests with real processes: restarts under load, health, certificates, metrics, and many short-lived clients.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use common::{PASSWORD, Process, Setup, soon};
use futures_util::TryStreamExt;
use orders::api::Order;
use rpc_runtime::Client;
use rpc_runtime::Trust;

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

#[tokio::test]
async fn restart_of_all_replicas_under_load_loses_no_order_and_places_none_twice() {
    let setup = Setup::new().await;
    let names = ["one", "two"];
    let (one, two) = tokio::join!(setup.replica(names[0], &[]), setup.replica(names[1], &[]));
    let at = [one.address, two.address];
    let mut load = setup.customer(&at, "bob", &["load", "run"]);
    let mut orders = BTreeMap::new();
    let mut watching = setup.customer(&at, "bob", &["watch", "1"]);
    acknowledged(&mut load, &mut orders, 40).await;
    for (name, replica) in names.into_iter().zip([one, two]) {
        let address = replica.address.to_string();
        replica.stop().await;
        let options = ["--listen", &address];
        // The address is free as soon as the process has ended.
        let replica = setup.replica(name, &options).await;
        acknowledged(&mut load, &mut orders, 40).await;
        std::mem::forget(replica);
    }
    load.signal("-TERM").await;
    let (rest, status) = load.output().await;
    assert!(status.success());
    for line in rest {
        add(&mut orders, line.strip_prefix("placed ").unwrap());
    }

    let session = setup.session(&at, "bob").await;
    let listed: Vec<Order> = soon(session.orders.list().try_collect()).await.unwrap();
    let listed: Vec<(String, u64)> = listed.into_iter().map(|o| (o.key, o.id)).collect();
    let count = listed.len();
    assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), orders);
    assert_eq!(count, orders.len(), "a key has two orders");

    // The watcher went from one replica to the other, and back.
    let (_, status) = setup
        .customer(&at, "ada", &["advance", "1", "shipped"])
        .output()
        .await;
    assert!(status.success());
    let mut last = None;
    while let Some(line) = watching.line().await {
        last = Some(line);
    }
    assert!(last.unwrap().ends_with(" Shipped"));
    assert!(watching.ended().await.success());
}
