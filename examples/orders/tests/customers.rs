//! Tests with real processes: what customers and administrators see.

mod common;

use std::time::{Duration, Instant};

use common::{PASSWORD, Replica, Setup, soon};
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use orders::api::{LoginClient, LoginError, NewOrder, Order, OrderError, OrdersClient, State};
use orders::client::Session;
use orders::tokens::{Kind, Principal, TokenKey};
use rpc_runtime::{CallError, code};

#[tokio::test]
async fn order_is_placed_once_for_its_key_and_watched_to_its_end() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let place = || {
        setup
            .customer(&at, "bob", &["place", "pear", "3", "monday"])
            .output()
    };
    for _ in 0..2 {
        let (lines, status) = place().await;
        assert!(status.success());
        assert_eq!(lines[0], "1 bob monday pear 3 Placed");
        let metadata = lines[1..].join("\n");
        assert!(metadata.contains("server-version: "), "{metadata}");
        assert!(metadata.contains("calls-left: "), "{metadata}");
    }

    let mut watching = setup.customer(&at, "bob", &["watch", "1"]);
    assert_eq!(watching.line_after("1 bob monday pear 3 ").await, "Placed");
    for (state, shown) in [("packed", "Packed"), ("shipped", "Shipped")] {
        let (_, status) = setup
            .customer(&at, "ada", &["advance", "1", state])
            .output()
            .await;
        assert!(status.success());
        assert_eq!(watching.line_after("1 bob monday pear 3 ").await, shown);
    }
    assert!(watching.ended().await.success());
}

#[tokio::test]
async fn users_at_the_same_time_see_only_their_own_orders() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    // Both users are on one connection, as behind a gateway.
    let client = soon(setup.servers(&at).connect()).await.unwrap();
    let log_in = async |user| Session::new(client.clone(), user, PASSWORD).await.unwrap();
    let (bob, eve) = soon(async { tokio::join!(log_in("bob"), log_in("eve")) }).await;
    // Both use the same keys.
    let place = |session: &Session, number: u32| {
        let key = format!("key-{number}");
        let item = "pear".to_owned();
        let count = 1;
        session.orders.place(NewOrder { key, item, count })
    };
    let calls = (0..200).map(|number| {
        let session = if number % 2 == 0 { &bob } else { &eve };
        place(session, number / 2)
    });
    let placed = soon(join_all(calls)).await;
    for (order, user) in placed.iter().zip(["bob", "eve"].into_iter().cycle()) {
        assert_eq!(order.as_ref().unwrap().user, user);
    }
    for (session, user) in [(&bob, "bob"), (&eve, "eve")] {
        let orders: Vec<Order> = soon(session.orders.list().try_collect()).await.unwrap();
        assert_eq!(orders.len(), 100, "{user}");
        assert!(orders.iter().all(|order| order.user == user));
    }
    // The handlers of uploads run for a while, and read the user of each order anew.
    let import = |session: &Session, item: &'static str| {
        let orders = stream::iter(0..100).map(move |number| NewOrder {
            key: format!("import-{number}"),
            item: item.to_owned(),
            count: 1,
        });
        let slowly = orders.then(async |order| {
            tokio::task::yield_now().await;
            order
        });
        session.orders.import(slowly)
    };
    let (of_bob, of_eve) = (import(&bob, "of bob"), import(&eve, "of eve"));
    let imported = soon(async { tokio::join!(of_bob, of_eve) }).await;
    assert_eq!((imported.0.unwrap(), imported.1.unwrap()), (100, 100));
    for (session, item) in [(&bob, "of bob"), (&eve, "of eve")] {
        let orders: Vec<Order> = soon(session.orders.list().try_collect()).await.unwrap();
        let items = orders[100..].iter().map(|order| &*order.item);
        assert_eq!(items.collect::<Vec<_>>(), vec![item; 100]);
    }

    let of_bob = placed[0].as_ref().unwrap().id;
    let error = soon(eve.orders.get(of_bob)).await.unwrap_err();
    assert_application(error, OrderError::NotFound(of_bob));
    let error = soon(eve.orders.watch(of_bob).try_next()).await.unwrap_err();
    assert_application(error, OrderError::NotFound(of_bob));
    let error = soon(bob.orders.advance(of_bob, State::Packed))
        .await
        .unwrap_err();
    assert_application(error, OrderError::Forbidden);
}

#[tokio::test]
async fn wrong_and_expired_tokens_are_rejected_and_a_session_renews_its_own() {
    let setup = Setup::new().await;
    let lifetime = Duration::from_secs(1);
    let replica = setup.replica("one", &["--token-ms", "1000"]).await;
    let at = [replica.address];

    let client = soon(setup.servers(&at).connect()).await.unwrap();
    let login = LoginClient::new(client.clone());
    let error = soon(login.log_in("bob", "guess")).await.unwrap_err();
    assert_application(error, LoginError::Unknown);
    let tokens = soon(login.log_in("bob", PASSWORD)).await.unwrap();
    let error = soon(login.refresh(&tokens.access)).await.unwrap_err();
    assert_application(error, LoginError::Expired);

    let key = TokenKey::from_file(&setup.folder.token_key()).unwrap();
    let bob = Principal {
        user: "bob".to_owned(),
        is_admin: false,
    };
    // The description of the services is for administrators.
    let discover = async |is_admin| {
        let user = "bob".to_owned();
        let token = key.issue(&Principal { user, is_admin }, Kind::Access, lifetime);
        let call = client.call::<serde_json::Value, _>("rpc.discover", &());
        let call = call.meta("authorization", &format!("Bearer {token}"));
        soon(call).await.map_err(|error| error.code())
    };
    assert_eq!(discover(false).await, Err(Some(403)));
    assert!(discover(true).await.unwrap()["methods"].is_array());

    let orders = OrdersClient::new(client.clone());
    let get = |token: &str| {
        let call = orders
            .get(1)
            .meta("authorization", &format!("Bearer {token}"));
        soon(call)
    };
    assert_application(
        soon(orders.get(1)).await.unwrap_err(),
        OrderError::Unauthenticated,
    );
    let expired = key.issue(&bob, Kind::Access, Duration::ZERO);
    for token in ["", "wrong", &expired, &tokens.refresh] {
        let error = get(token).await.unwrap_err();
        assert_application(error, OrderError::Unauthenticated);
    }
    let valid = key.issue(&bob, Kind::Access, Duration::from_secs(60));
    assert_application(get(&valid).await.unwrap_err(), OrderError::NotFound(1));

    // The session's calls succeed for several lifetimes of a token, alone and many at once.
    let session = setup.session(&at, "bob").await;
    let issued = issued(&replica).await;
    let start = Instant::now();
    while start.elapsed() < 3 * lifetime {
        let calls = (0..8).map(|_| session.orders.get(1));
        for order in soon(join_all(calls)).await {
            assert_application(order.unwrap_err(), OrderError::NotFound(1));
        }
    }
    // At most one new token for each lifetime, and not one for each rejected call.
    let lifetimes = start.elapsed().as_secs() / lifetime.as_secs() + 1;
    let renewed = self::issued(&replica).await - issued;
    assert!((1..=lifetimes).contains(&renewed), "{renewed}");
}

/// Returns the number of tokens that a replica has issued.
async fn issued(replica: &Replica) -> u64 {
    let metrics = replica.metrics().await;
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix("orders_tokens_issued_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn import_places_every_order_once_and_names_an_invalid_one() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let at = [replica.address];
    let file = setup.folder.0.join("orders.txt");
    let lines: String = (0..200)
        .map(|n| format!("key-{n} pear {}\n", n + 1))
        .collect();
    std::fs::write(&file, lines).unwrap();
    let import = ["import", file.to_str().unwrap()];
    for _ in 0..2 {
        let (lines, status) = setup.customer(&at, "bob", &import).output().await;
        assert!(status.success());
        assert_eq!(lines, ["imported 200"]);
    }
    let (listed, status) = setup.customer(&at, "bob", &["list"]).output().await;
    assert!(status.success());
    assert_eq!(listed.len(), 200);

    std::fs::write(&file, "key-a pear 0\n").unwrap();
    let (lines, status) = setup.customer(&at, "bob", &import).output().await;
    assert!(lines.is_empty() && !status.success());
    let session = setup.session(&at, "bob").await;
    let other = NewOrder {
        key: "key-0".to_owned(),
        item: "plum".to_owned(),
        count: 1,
    };
    match soon(session.orders.place(other)).await.unwrap_err() {
        CallError::Application(OrderError::KeyInUse { .. }) => {}
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn calls_above_the_quota_are_rejected_with_the_time_to_wait() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &["--quota", "3"]).await;
    let session = setup.session(&[replica.address], "bob").await;
    for left in ["2", "1", "0"] {
        let (_, metadata) = soon(session.orders.get(1).with_response_metadata()).await;
        assert_eq!(metadata.get("calls-left"), Some(left));
    }
    let (result, metadata) = soon(session.orders.get(1).with_response_metadata()).await;
    match result.unwrap_err() {
        CallError::Application(OrderError::TooMany { seconds: 1..=61 }) => {}
        error => panic!("{error:?}"),
    }
    assert_eq!(
        metadata.get("server-version"),
        Some(env!("CARGO_PKG_VERSION"))
    );
    // The quota is that of a user.
    let eve = setup.session(&[replica.address], "eve").await;
    assert_application(
        soon(eve.orders.get(1)).await.unwrap_err(),
        OrderError::NotFound(1),
    );
}

#[tokio::test]
async fn order_above_the_limits_is_rejected_with_the_reason() {
    let setup = Setup::new().await;
    let replica = setup.replica("one", &[]).await;
    let session = setup.session(&[replica.address], "bob").await;
    let place = |key: String| {
        let item = "pear".to_owned();
        let count = 1;
        soon(session.orders.place(NewOrder { key, item, count }))
    };
    match place("k".repeat(65)).await.unwrap_err() {
        CallError::Application(OrderError::Invalid(_)) => {}
        error => panic!("{error:?}"),
    }
    let error = place("k".repeat(20 << 10)).await.unwrap_err();
    assert_eq!(error.code(), Some(code::REQUEST_TOO_LARGE));
    assert!(error.data().unwrap().contains("max_request_bytes"));
}

#[track_caller]
fn assert_application<E: std::fmt::Debug + PartialEq>(error: CallError<E>, expected: E) {
    match error {
        CallError::Application(error) => assert_eq!(error, expected),
        error => panic!("{error:?} instead of {expected:?}"),
    }
}
