//! Subscriptions over WebSocket, in the form that the clients of other libraries expect.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rpc_http::{HttpServer, HttpService, SubscriptionNames, Subscriptions};
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{ErrorObject, Stream, rpc};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

#[rpc(namespace = "chain")]
trait Chain {
    /// Sends the numbers from `from`, without end.
    fn heads(&self, from: u64) -> impl Stream<Item = u64>;

    /// Sends these numbers.
    fn some(&self, numbers: Vec<u64>) -> impl Stream<Item = u64>;

    fn fails(&self, after: Vec<u64>) -> impl Stream<Item = Result<u64, ErrorObject>>;

    /// Sends nothing.
    fn silent(&self) -> impl Stream<Item = u64>;

    fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64>;

    async fn add(&self, a: u64, b: u64) -> u64;
}

#[derive(Clone)]
struct Node {
    dropped: mpsc::UnboundedSender<()>,
}

struct Dropped(mpsc::UnboundedSender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Chain for Node {
    fn heads(&self, from: u64) -> impl Stream<Item = u64> {
        futures_util::stream::iter(from..)
    }

    fn some(&self, numbers: Vec<u64>) -> impl Stream<Item = u64> {
        futures_util::stream::iter(numbers)
    }

    fn fails(&self, after: Vec<u64>) -> impl Stream<Item = Result<u64, ErrorObject>> {
        let error = Err(ErrorObject::new(7, "no paper"));
        futures_util::stream::iter(after.into_iter().map(Ok).chain([error]))
    }

    fn silent(&self) -> impl Stream<Item = u64> {
        let dropped = Dropped(self.dropped.clone());
        futures_util::stream::poll_fn(move |_| {
            let _ = &dropped;
            std::task::Poll::Pending
        })
    }

    fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        numbers.map(|number| 2 * number)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

struct Served {
    address: SocketAddr,
    dropped: mpsc::UnboundedReceiver<()>,
}

fn names(subscribe: &str, notification: &str, unsubscribe: &str) -> SubscriptionNames {
    SubscriptionNames {
        subscribe: subscribe.into(),
        notification: notification.into(),
        unsubscribe: unsubscribe.into(),
    }
}

fn ethereum() -> SubscriptionNames {
    names("eth_subscribe", "eth_subscription", "eth_unsubscribe")
}

fn services() -> (ServiceSet, mpsc::UnboundedReceiver<()>) {
    let (sender, dropped) = mpsc::unbounded_channel();
    let node = Node { dropped: sender };
    let services = ServiceSet::builder().service(ChainServer::new(node));
    (services.build().unwrap(), dropped)
}

async fn serve(subscriptions: Option<Subscriptions>) -> Served {
    let (services, dropped) = services();
    let service = HttpService::new(services);
    let service = match subscriptions {
        Some(subscriptions) => service.subscriptions(subscriptions),
        None => service,
    };
    let listener = HttpServer::new(service).bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    Served { address, dropped }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(served: &Served) -> Self {
        let url = format!("ws://{}/", served.address);
        Self(connect_async(url).await.unwrap().0)
    }

    async fn receive(&mut self) -> String {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.0.next());
        let frame = frame.await.expect("a frame arrives").unwrap().unwrap();
        frame.into_text().unwrap().to_string()
    }

    /// Sends the lines with `-->` and expects those with `<--`, in the order of the transcript.
    async fn follow(&mut self, transcript: &str) {
        for line in transcript.lines().map(str::trim) {
            match line.split_once(' ') {
                Some(("-->", sent)) => self.0.send(Message::text(sent)).await.unwrap(),
                Some(("<--", expected)) => assert_eq!(self.receive().await, expected),
                _ => assert_eq!(line, ""),
            }
        }
    }
}

#[tokio::test]
async fn items_are_notifications_until_the_stream_is_complete() {
    let served = serve(Some(Subscriptions::new())).await;
    Client::connect(&served).await.follow(r#"
        --> {"jsonrpc":"2.0","id":"s","method":"chain.subscribe_some","params":{"numbers":[5,6]}}
        <-- {"jsonrpc":"2.0","id":"s","result":"0x1"}
        <-- {"jsonrpc":"2.0","method":"chain.some","params":{"subscription":"0x1","result":5}}
        <-- {"jsonrpc":"2.0","method":"chain.some","params":{"subscription":"0x1","result":6}}
        <-- {"jsonrpc":"2.0","method":"chain.some","params":{"subscription":"0x1","error":{"code":0,"message":"Subscription complete"}}}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.unsubscribe_some","params":["0x1"]}
        <-- {"jsonrpc":"2.0","id":2,"result":false}
        --> {"jsonrpc":"2.0","id":3,"method":"chain.subscribe_some","params":[[]]}
        <-- {"jsonrpc":"2.0","id":3,"result":"0x2"}
        <-- {"jsonrpc":"2.0","method":"chain.some","params":{"subscription":"0x2","error":{"code":0,"message":"Subscription complete"}}}
    "#).await;
}

#[tokio::test]
async fn error_before_the_first_item_is_the_reply_and_a_later_one_a_notification() {
    let served = serve(Some(Subscriptions::new())).await;
    Client::connect(&served).await.follow(r#"
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_fails","params":[[]]}
        <-- {"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"no paper"}}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.subscribe_fails","params":[[5]]}
        <-- {"jsonrpc":"2.0","id":2,"result":"0x2"}
        <-- {"jsonrpc":"2.0","method":"chain.fails","params":{"subscription":"0x2","result":5}}
        <-- {"jsonrpc":"2.0","method":"chain.fails","params":{"subscription":"0x2","error":{"code":7,"message":"no paper"}}}
        --> {"jsonrpc":"2.0","id":3,"method":"chain.subscribe_nothing"}
        <-- {"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"Method not found","data":"there is no method `chain.subscribe_nothing`"}}
    "#).await;
}

#[tokio::test]
async fn subscription_without_items_is_answered_and_ended_by_the_client() {
    let mut served = serve(Some(Subscriptions::new())).await;
    let mut client = Client::connect(&served).await;
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_silent"}
        <-- {"jsonrpc":"2.0","id":1,"result":"0x1"}
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_silent"}
        <-- {"jsonrpc":"2.0","id":1,"result":"0x2"}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.unsubscribe_silent","params":["0x1"]}
        <-- {"jsonrpc":"2.0","id":2,"result":true}
    "#,
        )
        .await;
    served.dropped.recv().await;
    client.follow(r#"
        --> {"jsonrpc":"2.0","id":3,"method":"chain.unsubscribe_silent","params":["0x1"]}
        <-- {"jsonrpc":"2.0","id":3,"result":false}
        --> {"jsonrpc":"2.0","id":4,"method":"chain.unsubscribe_silent","params":{"subscription":"0x2"}}
        <-- {"jsonrpc":"2.0","id":4,"result":true}
        --> {"jsonrpc":"2.0","id":5,"method":"chain.unsubscribe_silent"}
        <-- {"jsonrpc":"2.0","id":5,"result":false}
        --> {"jsonrpc":"2.0","id":6,"method":"chain.unsubscribe_silent","params":["0x02"]}
        <-- {"jsonrpc":"2.0","id":6,"result":false}
        --> {"jsonrpc":"2.0","id":7,"method":"chain.add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":7,"result":3}
    "#).await;
    served.dropped.recv().await;
}

#[tokio::test]
async fn no_item_follows_the_reply_to_the_end_of_a_subscription() {
    let served = serve(Some(Subscriptions::new())).await;
    let mut client = Client::connect(&served).await;
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_heads","params":[7]}
        <-- {"jsonrpc":"2.0","id":1,"result":"0x1"}
        <-- {"jsonrpc":"2.0","method":"chain.heads","params":{"subscription":"0x1","result":7}}
        <-- {"jsonrpc":"2.0","method":"chain.heads","params":{"subscription":"0x1","result":8}}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.unsubscribe_heads","params":["0x1"]}
    "#,
        )
        .await;
    // Items that were sent before arrive before.
    let reply = loop {
        let message = client.receive().await;
        if !message.contains(r#""method":"chain.heads""#) {
            break message;
        }
    };
    assert_eq!(reply, r#"{"jsonrpc":"2.0","id":2,"result":true}"#);
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":3,"method":"chain.add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":3,"result":3}
    "#,
        )
        .await;
}

#[tokio::test]
async fn many_ends_without_a_reader_stop_at_the_buffers_of_the_socket() {
    let served = serve(Some(Subscriptions::new())).await;
    let client = Client::connect(&served).await;
    let (mut write, mut read) = client.0.split();
    let end = r#"{"jsonrpc":"2.0","id":1,"method":"chain.unsubscribe_some","params":["0x1"]}"#;
    // The server reads no further than the client: in the end, nothing can be sent.
    let mut sent = 0_u64;
    while let Ok(done) =
        tokio::time::timeout(Duration::from_secs(1), write.send(Message::text(end))).await
    {
        done.unwrap();
        sent += 1;
        assert!(sent < 1_000_000, "the server stores replies");
    }
    for _ in 0..sent {
        assert!(
            read.next()
                .await
                .unwrap()
                .unwrap()
                .to_text()
                .unwrap()
                .ends_with(r#""result":false}"#)
        );
    }
}

#[tokio::test]
async fn first_parameter_names_the_method_as_in_ethereum() {
    let subscriptions = Subscriptions::new().by_parameter(
        ethereum(),
        [
            ("newHeads", "chain.heads"),
            ("some", "chain.some"),
            ("silent", "chain.silent"),
        ],
    );
    let served = serve(Some(subscriptions)).await;
    Client::connect(&served).await.follow(r#"
        --> {"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["some",[5]]}
        <-- {"jsonrpc":"2.0","id":1,"result":"0x1"}
        <-- {"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":5}}
        <-- {"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","error":{"code":0,"message":"Subscription complete"}}}
        --> {"jsonrpc":"2.0","id":2,"method":"eth_subscribe","params":["silent"]}
        <-- {"jsonrpc":"2.0","id":2,"result":"0x2"}
        --> {"jsonrpc":"2.0","id":3,"method":"eth_unsubscribe","params":["0x2"]}
        <-- {"jsonrpc":"2.0","id":3,"result":true}
        --> {"jsonrpc":"2.0","id":4,"method":"eth_subscribe","params":["logs"]}
        <-- {"jsonrpc":"2.0","id":4,"error":{"code":-32601,"message":"Method not found","data":"the first parameter names no subscription"}}
        --> {"jsonrpc":"2.0","id":5,"method":"eth_subscribe"}
        <-- {"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"Method not found","data":"the first parameter names no subscription"}}
    "#).await;
}

#[tokio::test]
async fn renamed_subscription_replaces_its_default_names() {
    let subscriptions =
        Subscriptions::new().rename("chain.some", names("subSome", "gotSome", "unsubSome"));
    let served = serve(Some(subscriptions)).await;
    Client::connect(&served).await.follow(r#"
        --> {"jsonrpc":"2.0","id":1,"method":"subSome","params":[[5]]}
        <-- {"jsonrpc":"2.0","id":1,"result":"0x1"}
        <-- {"jsonrpc":"2.0","method":"gotSome","params":{"subscription":"0x1","result":5}}
        <-- {"jsonrpc":"2.0","method":"gotSome","params":{"subscription":"0x1","error":{"code":0,"message":"Subscription complete"}}}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.subscribe_some","params":[[5]]}
        <-- {"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found","data":"there is no method `chain.subscribe_some`"}}
    "#).await;
}

#[tokio::test]
async fn subscriptions_are_off_by_default_and_never_for_uploads() {
    let off = serve(None).await;
    Client::connect(&off)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_some","params":[[5]]}
        <-- {"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","data":"there is no method `chain.subscribe_some`"}}
    "#,
        )
        .await;
    let on = serve(Some(Subscriptions::new())).await;
    Client::connect(&on)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"chain.subscribe_double"}
        <-- {"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","data":"there is no method `chain.subscribe_double`"}}
        --> {"jsonrpc":"2.0","id":2,"method":"chain.some","params":[[5]]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[2,5]}
        <-- {"jsonrpc":"2.0","id":2,"result":null}
    "#,
        )
        .await;
}

#[test]
fn names_that_clash_or_name_no_stream_panic_at_start() {
    let some = || names("a", "b", "c");
    for (subscriptions, reason) in [
        (
            Subscriptions::new().rename("chain.add", some()),
            "`chain.add` is no method that returns a stream",
        ),
        (
            Subscriptions::new().rename("chain.double", some()),
            "`chain.double` is no method",
        ),
        (
            Subscriptions::new().by_parameter(some(), [("x", "chain.nothing")]),
            "`chain.nothing` is no method",
        ),
        (
            Subscriptions::new().rename("chain.some", names("chain.add", "b", "c")),
            "the name `chain.add`",
        ),
        (
            Subscriptions::new().rename("chain.some", names("a", "b", "a")),
            "the name `a`",
        ),
        (
            Subscriptions::new()
                .by_parameter(ethereum(), [("x", "chain.some")])
                .by_parameter(ethereum(), [("x", "chain.some")]),
            "the name `eth_subscribe`",
        ),
    ] {
        let (services, _) = services();
        let panic = std::panic::catch_unwind(AssertUnwindSafe(|| {
            HttpService::new(services).subscriptions(subscriptions)
        }));
        let panic = panic.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains(reason), "{text}");
    }
}
