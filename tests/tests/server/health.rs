//! `rpc.health`.

use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::{CallError, Client, ErrorObject, Health, Limits, RawService, code, rpc};
use serde_json::{Value, json};
use tests::support::{TestServer, eventually, soon};
use tokio::sync::Semaphore;

#[rpc(namespace = "shop")]
trait Shop {
    async fn wait(&self);
}

#[rpc(namespace = "stock")]
trait Stock {
    async fn count(&self) -> u32;
}

struct Here(Arc<Semaphore>);

impl Shop for Here {
    async fn wait(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

impl Stock for Here {
    async fn count(&self) -> u32 {
        7
    }
}

async fn ask(client: &Client, params: Value) -> Result<String, CallError<ErrorObject>> {
    let answer: Value = soon(client.call("rpc.health", &params)).await?;
    assert_eq!(answer.as_object().unwrap().len(), 1);
    Ok(answer["status"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn health_of_the_server_and_of_its_services_is_what_was_set() {
    let server = TestServer::bind(|builder| {
        let gate = Arc::new(Semaphore::new(0));
        let builder = builder.service(ShopServer::new(Here(Arc::clone(&gate))));
        builder
            .service(StockServer::new(Here(gate)))
            .bind("127.0.0.1:0")
    });
    let (client, handle) = (server.connect().await, &server.handle);
    let of = async |params| ask(&client, params).await.unwrap();
    for params in [
        json!([]),
        json!({}),
        json!([null]),
        json!([""]),
        json!({"service": null}),
    ] {
        assert_eq!(of(params).await, "SERVING");
    }
    assert!(handle.set_service_health("Shop", Health::NotServing));
    assert!(!handle.set_service_health("Bank", Health::NotServing));
    assert_eq!(of(json!(["Shop"])).await, "NOT_SERVING");
    assert_eq!(of(json!({"service": "Shop"})).await, "NOT_SERVING");
    assert_eq!(of(json!(["Stock"])).await, "SERVING");
    assert_eq!(of(json!([])).await, "SERVING");
    assert_eq!(of(json!(["Bank"])).await, "SERVICE_UNKNOWN");
    assert!(handle.set_service_health("Shop", Health::Serving));
    handle.set_health(Health::NotServing);
    for params in [json!([]), json!(["Shop"]), json!(["Stock"])] {
        assert_eq!(of(params).await, "NOT_SERVING");
    }
    // Calls are served nevertheless.
    let stock = StockClient::new(client.clone());
    assert_eq!(soon(stock.count()).await.unwrap(), 7);
    handle.set_health(Health::Serving);
    assert_eq!(of(json!(["Stock"])).await, "SERVING");
    let error = ask(&client, json!([7])).await.unwrap_err();
    assert_eq!(error.code(), Some(code::INVALID_PARAMS));
}

#[tokio::test]
async fn parameters_other_than_the_service_are_rejected_and_those_of_other_protocol_methods_ignored()
 {
    let gate = Arc::new(Semaphore::new(0));
    let server = TestServer::start(StockServer::new(Here(gate)), Limits::default());
    let client = server.connect().await;
    for params in [
        json!(["Stock", 1]),
        json!([null, null]),
        json!({"servise": "Stock"}),
        json!({"service": "Stock", "verbose": true}),
    ] {
        let error = ask(&client, params).await.unwrap_err();
        assert_eq!(error.code(), Some(code::INVALID_PARAMS));
        let data = error.data();
        assert_eq!(
            data.as_deref(),
            Some(r#""the only parameter is `service`""#)
        );
    }
    let parameters = json!({"service": "Stock"});
    let () = soon(client.call("rpc.ping", &parameters)).await.unwrap();
    let document: Value = soon(client.call("rpc.discover", &parameters))
        .await
        .unwrap();
    assert_eq!(document["openrpc"], "1.4.1");

    let mut service = RawService::new(StockServer::new(Here(Arc::new(Semaphore::new(0)))));
    let twice = br#"{"jsonrpc":"2.0","id":1,"method":"rpc.health","params":{"service":"Stock","service":""}}"#;
    let reply: Value = serde_json::from_slice(service.respond(twice).await).unwrap();
    assert_eq!(reply["error"]["code"], code::INVALID_PARAMS);
}

#[tokio::test]
async fn server_that_drains_is_not_serving() {
    let gate = Arc::new(Semaphore::new(0));
    let service = ShopServer::new(Here(Arc::clone(&gate)));
    let server = TestServer::start(service, Limits::default());
    let client = server.connect().await;
    let waiting = tokio::spawn(ShopClient::new(client.clone()).wait().into_future());
    assert_eq!(ask(&client, json!([])).await.unwrap(), "SERVING");
    let handle = server.handle.clone();
    let stopping = tokio::spawn(async move { handle.shutdown(Duration::from_secs(60)).await });
    soon(async { while ask(&client, json!([])).await.unwrap() == "SERVING" {} }).await;
    assert_eq!(ask(&client, json!(["Shop"])).await.unwrap(), "NOT_SERVING");
    gate.add_permits(1);
    soon(waiting).await.unwrap().unwrap();
    assert!(soon(stopping).await.unwrap());
    eventually(|| server.running.is_finished()).await;
}

#[tokio::test]
async fn health_is_answered_in_a_batch_and_without_a_transport() {
    let gate = Arc::new(Semaphore::new(0));
    let mut service = RawService::new(StockServer::new(Here(gate)));
    let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"rpc.health","params":["Stock"]}]"#;
    let reply: Value = serde_json::from_slice(service.respond(batch).await).unwrap();
    assert_eq!(
        reply,
        json!([{"jsonrpc": "2.0", "id": 1, "result": {"status": "SERVING"}}])
    );
}
