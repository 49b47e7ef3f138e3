//! The clients of jsonrpsee.

use jsonrpsee_core::client::{BatchResponse, ClientT, Error, Subscription, SubscriptionClientT};
use jsonrpsee_core::params::{BatchRequestBuilder, ObjectParams};
use jsonrpsee_core::rpc_params;
use jsonrpsee_http_client::HttpClient;
use jsonrpsee_ws_client::{WsClient, WsClientBuilder};
use serde_json::{Value, json};

use crate::doors::Doors;

async fn makes_every_kind_of_call(client: &impl ClientT) {
    let difference: i64 = client
        .request("subtract", rpc_params![42, 23])
        .await
        .unwrap();
    assert_eq!(difference, 19);

    let mut named = ObjectParams::new();
    named.insert("subtrahend", 23).unwrap();
    named.insert("minuend", 42).unwrap();
    let difference: i64 = client.request("subtract", named).await.unwrap();
    assert_eq!(difference, 19);

    let before: u64 = client.request("notified", rpc_params![]).await.unwrap();
    client
        .notification("update", rpc_params![1, 2])
        .await
        .unwrap();
    // Over WebSocket, a notification has no answer that says when it was executed.
    while client
        .request::<u64, _>("notified", rpc_params![])
        .await
        .unwrap()
        == before
    {}

    let failed = client
        .request::<Value, _>("fail", rpc_params![7, "no paper", json!({ "tray": 2 })])
        .await;
    let Err(Error::Call(error)) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!((error.code(), error.message()), (7, "no paper"));
    assert_eq!(error.data().unwrap().get(), r#"{"tray":2}"#);

    let unknown = client.request::<Value, _>("nothing", rpc_params![]).await;
    assert!(
        matches!(&unknown, Err(Error::Call(error)) if error.code() == -32601),
        "{unknown:?}"
    );

    let mut batch = BatchRequestBuilder::new();
    batch.insert("subtract", rpc_params![5, 3]).unwrap();
    batch
        .insert("fail", rpc_params![7, "no paper", ()])
        .unwrap();
    batch.insert("echo", rpc_params!["ä\n"]).unwrap();
    let replies: BatchResponse<'_, Value> = client.batch_request(batch).await.unwrap();
    let replies: Vec<_> = replies.into_iter().collect();
    assert_eq!(replies[0].as_ref().unwrap(), &json!(2));
    assert_eq!(replies[1].as_ref().unwrap_err().code(), 7);
    assert_eq!(replies[2].as_ref().unwrap(), &json!("ä\n"));
}

async fn websocket(url: &str) -> WsClient {
    WsClientBuilder::new().build(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonrpsee_calls_over_http() {
    let doors = Doors::open("jsonrpsee-http").await;
    for url in [doors.url(), doors.axum_url()] {
        let client = HttpClient::builder().build(url).unwrap();
        makes_every_kind_of_call(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonrpsee_calls_over_websocket() {
    let doors = Doors::open("jsonrpsee-ws").await;
    for url in [doors.url(), doors.axum_url()] {
        let client = websocket(&url.replace("http", "ws")).await;
        makes_every_kind_of_call(&client).await;
        let calls = (0..100).map(|i| client.request::<u64, _>("sleep", rpc_params![i % 3]));
        for (slept, i) in futures_util::future::join_all(calls)
            .await
            .into_iter()
            .zip(0..)
        {
            assert_eq!(slept.unwrap(), i % 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonrpsee_subscribes_to_a_stream_until_it_is_complete_or_fails() {
    let doors = Doors::open("jsonrpsee-subscribe").await;
    let client = websocket(&doors.url().replace("http", "ws")).await;
    let mut count: Subscription<u64> = client
        .subscribe("subscribe_count", rpc_params![3], "unsubscribe_count")
        .await
        .unwrap();
    let mut two: Subscription<u64> = client
        .subscribe(
            "subscribe_fail_after",
            rpc_params![2],
            "unsubscribe_fail_after",
        )
        .await
        .unwrap();
    for expected in 1..=3 {
        assert_eq!(count.next().await.unwrap().unwrap(), expected);
    }
    assert!(count.next().await.is_none());
    for expected in 0..2 {
        assert_eq!(two.next().await.unwrap().unwrap(), expected);
    }
    assert!(two.next().await.is_none());

    let failed = client
        .subscribe::<u64, _>(
            "subscribe_fail_after",
            rpc_params![0],
            "unsubscribe_fail_after",
        )
        .await;
    assert!(
        matches!(&failed, Err(Error::Call(error)) if error.code() == 1),
        "{failed:?}"
    );
    let wrong = client
        .subscribe::<u64, _>("subscribe_count", rpc_params!["three"], "unsubscribe_count")
        .await;
    assert!(
        matches!(&wrong, Err(Error::Call(error)) if error.code() == -32602),
        "{wrong:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonrpsee_ends_a_subscription() {
    let doors = Doors::open("jsonrpsee-unsubscribe").await;
    let client = websocket(&doors.axum_url().replace("http", "ws")).await;
    let open = async || -> usize { client.request("clock.open", rpc_params![]).await.unwrap() };
    let (subscribe, unsubscribe) = ("clock.subscribe_ticks", "clock.unsubscribe_ticks");
    let mut ticks: Subscription<u64> = client
        .subscribe(subscribe, rpc_params![1], unsubscribe)
        .await
        .unwrap();
    let dropped: Subscription<u64> = client
        .subscribe(subscribe, rpc_params![1], unsubscribe)
        .await
        .unwrap();
    for expected in 1..=5 {
        assert_eq!(ticks.next().await.unwrap().unwrap(), expected);
    }
    assert_eq!(open().await, 2);
    ticks.unsubscribe().await.unwrap();
    drop(dropped);
    while open().await != 0 {}

    // The first parameter names the method.
    let mut heads: Subscription<u64> = client
        .subscribe(
            "eth_subscribe",
            rpc_params!["newHeads", 1],
            "eth_unsubscribe",
        )
        .await
        .unwrap();
    assert_eq!(heads.next().await.unwrap().unwrap(), 1);
}
