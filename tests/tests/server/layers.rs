//! Layers of a server, which wrap all of its services and see calls of unknown methods.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{CallError, Client, ErrorObject, RpcError, Service, Stream, code, rpc};
use tests::support::{TestServer, eventually, soon};
use thiserror::Error;

#[rpc(namespace = "shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
    #[rpc(blocking)]
    fn weigh(&self) -> u32;
    #[rpc(notification)]
    async fn note(&self);
}

#[rpc(namespace = "stock")]
trait Stock {
    async fn count(&self) -> u32;
    fn items(&self) -> impl Stream<Item = u32>;
    async fn store(&self, items: impl Stream<Item = u32>) -> u32;
}

struct Here;

impl Shop for Here {
    async fn price(&self, item: &str) -> u32 {
        item.len() as u32
    }

    fn weigh(&self) -> u32 {
        2
    }

    async fn note(&self) {}
}

impl Stock for Here {
    async fn count(&self) -> u32 {
        7
    }

    fn items(&self) -> impl Stream<Item = u32> {
        futures_util::stream::iter([1])
    }

    async fn store(&self, items: impl Stream<Item = u32> + Send) -> u32 {
        items.fold(0, async |sum, item| sum + item).await
    }
}

/// Records calls and their outcomes under a name.
#[derive(Clone)]
struct Recorder(&'static str, Arc<Mutex<Vec<String>>>);

impl Middleware for Recorder {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let (service, method) = (call.service().name, call.method().name);
        let asked = call.unknown_method().map(|name| format!(" {name}"));
        let call = format!("{} {service} {method}{}", self.0, asked.unwrap_or_default());
        let response = next.observe(|_| {}).await;
        let outcome = response.outcome().as_str();
        self.1.lock().unwrap().push(format!("{call}: {outcome}"));
        response
    }
}

/// Rejects calls of unknown methods.
struct Forbidden;

impl Middleware for Forbidden {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match call.unknown_method() {
            Some(_) => Response::error(ErrorObject::new(403, "forbidden")),
            None => next.run().await,
        }
    }
}

#[tokio::test]
async fn layer_sees_every_kind_of_call_of_every_service() {
    let calls = Arc::default();
    let layer = Recorder("", Arc::clone(&calls));
    let server = TestServer::bind(|builder| {
        let builder = builder.service(ShopServer::new(Here)).layer(layer);
        builder.service(StockServer::new(Here)).bind("127.0.0.1:0")
    });
    let client = server.connect().await;
    let (shop, stock) = (
        ShopClient::new(client.clone()),
        StockClient::new(client.clone()),
    );
    let seen = async |expected: &[&str]| {
        eventually(|| calls.lock().unwrap().len() >= expected.len()).await;
        assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), expected);
    };
    assert_eq!(soon(shop.price("pear")).await.unwrap(), 4);
    seen(&[" Shop shop.price: success"]).await;
    assert_eq!(soon(shop.weigh()).await.unwrap(), 2);
    seen(&[" Shop shop.weigh: success"]).await;
    soon(shop.note()).await.unwrap();
    seen(&[" Shop shop.note: success"]).await;
    assert_eq!(soon(stock.items().count()).await, 1);
    seen(&[" Stock stock.items: success"]).await;
    let sum = stock.store(futures_util::stream::iter([1, 2]));
    assert_eq!(soon(sum).await.unwrap(), 3);
    seen(&[" Stock stock.store: success"]).await;

    // Unknown methods.
    let unknown = client.call::<u32, _>("shop.sell", &());
    let error = soon(unknown).await.unwrap_err();
    assert_eq!(error.code(), Some(code::METHOD_NOT_FOUND));
    seen(&[" _OTHER _OTHER shop.sell: error"]).await;
    soon(client.notify("note", &())).await.unwrap();
    seen(&[" _OTHER _OTHER note: error"]).await;
    let mut batch = client.batch();
    let known = batch.call(stock.count());
    let unknown = batch.call(client.call::<u32, _>("_OTHER", &()));
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(known).unwrap(), 7);
    let error = replies.take(unknown).unwrap_err();
    assert_eq!(error.code(), Some(code::METHOD_NOT_FOUND));
    seen(&[
        " Stock stock.count: success",
        " _OTHER _OTHER _OTHER: error",
    ])
    .await;
    let items = client.items::<u32, _>("stock.all", &());
    let items: Vec<_> = soon(items.collect()).await;
    assert!(matches!(&items[..], [Err(error)] if error.code() == Some(code::METHOD_NOT_FOUND)));
    seen(&[" _OTHER _OTHER stock.all: error"]).await;
    let upload = client.call::<u32, _>("stock.take", &());
    let error = soon(upload.upload(futures_util::stream::iter([1]))).await;
    assert_eq!(error.unwrap_err().code(), Some(code::METHOD_NOT_FOUND));
    seen(&[" _OTHER _OTHER stock.take: error"]).await;

    // The description has no further service, and methods of the protocol pass no layer.
    let document: serde_json::Value = soon(client.call("rpc.discover", &())).await.unwrap();
    assert_eq!(document["methods"].as_array().unwrap().len(), 6);
    soon(client.call::<(), _>("rpc.ping", &())).await.unwrap();
    seen(&[]).await;
}

#[tokio::test]
async fn first_layer_is_the_outermost_and_outside_of_a_service_of_its_own() {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let layer = |name| Recorder(name, Arc::clone(&calls));
    let service = Layered::new(layer("own"), StockServer::new(Here));
    let server = TestServer::bind(|builder| {
        let builder = builder.layer(layer("first")).service(service);
        builder
            .layer(layer("second"))
            .layer(Forbidden)
            .bind("127.0.0.1:0")
    });
    let client = server.connect().await;
    let stock = StockClient::new(client.clone());
    assert_eq!(soon(stock.count()).await.unwrap(), 7);
    let expected =
        ["own", "second", "first"].map(|name| format!("{name} Stock stock.count: success"));
    assert_eq!(std::mem::take(&mut *calls.lock().unwrap()), expected);
    let error = soon(client.call::<u32, _>("other", &())).await.unwrap_err();
    assert_eq!(error.code(), Some(403));
    let expected = ["second", "first"].map(|name| format!("{name} _OTHER _OTHER other: error"));
    assert_eq!(*calls.lock().unwrap(), expected);
}

#[derive(Debug, PartialEq, Error, RpcError)]
enum GateError {
    #[error("closed until {opens}")]
    #[rpc(code = 7)]
    Closed { opens: String },
    #[error("full")]
    #[rpc(code = 8)]
    Full,
}

fn closed() -> GateError {
    let opens = "8:00".into();
    GateError::Closed { opens }
}

#[rpc(namespace = "gate")]
trait Gate {
    async fn enter(&self) -> Result<u32, GateError>;
    #[rpc(blocking)]
    fn push(&self) -> Result<u32, GateError>;
    fn visitors(&self) -> impl Stream<Item = Result<u32, GateError>>;
    async fn carry(&self, items: impl Stream<Item = u32>) -> Result<u32, GateError>;
    /// A method of another error type.
    async fn look(&self) -> Result<u32, ErrorObject>;
}

struct Open;

impl Gate for Open {
    async fn enter(&self) -> Result<u32, GateError> {
        Err(GateError::Full)
    }

    fn push(&self) -> Result<u32, GateError> {
        Err(GateError::Full)
    }

    fn visitors(&self) -> impl Stream<Item = Result<u32, GateError>> {
        futures_util::stream::iter([Err(GateError::Full)])
    }

    async fn carry(&self, _: impl Stream<Item = u32> + Send) -> Result<u32, GateError> {
        Err(GateError::Full)
    }

    async fn look(&self) -> Result<u32, ErrorObject> {
        // `?` converts the error as well.
        Ok(Err(closed())?)
    }
}

/// Rejects calls without a ticket.
struct Keeper;

impl Middleware for Keeper {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match call.context().meta("ticket") {
            Some(_) => next.run().await,
            None => Response::error(closed()),
        }
    }
}

#[tokio::test]
async fn middleware_answers_every_kind_of_call_with_an_error_of_the_method() {
    let service = || Layered::new(Keeper, GateServer::new(Open));
    let server = TestServer::bind(|builder| builder.service(service()).bind("127.0.0.1:0"));
    for client in [server.connect().await, Client::local(service())] {
        let gate = GateClient::new(client.clone());
        let application = |error: CallError<GateError>| match error {
            CallError::Application(error) => error,
            other => panic!("{other:?}"),
        };
        let entered = soon(gate.enter()).await.unwrap_err();
        assert_eq!(application(entered), closed());
        let pushed = soon(gate.push()).await.unwrap_err();
        assert_eq!(application(pushed), closed());
        let visitors = soon(gate.visitors().next()).await.unwrap();
        assert_eq!(application(visitors.unwrap_err()), closed());
        let carried = gate.carry(futures_util::stream::iter([1]));
        assert_eq!(application(soon(carried).await.unwrap_err()), closed());
        let mut batch = client.batch();
        let entry = batch.call(gate.enter());
        let mut replies = soon(batch.send()).await.unwrap();
        assert_eq!(application(replies.take(entry).unwrap_err()), closed());
        let full = soon(gate.enter().meta("ticket", "1")).await.unwrap_err();
        assert_eq!(application(full), GateError::Full);

        for ticket in [None, Some("1")] {
            let look = ticket.map_or(gate.look(), |ticket| gate.look().meta("ticket", ticket));
            let CallError::Application(error) = soon(look).await.unwrap_err() else {
                panic!("it has the code of an application");
            };
            assert_eq!((error.code(), error.message()), (7, "closed until 8:00"));
            assert_eq!(error.raw_data(), Some(r#"{"opens":"8:00"}"#));
        }
    }
}
