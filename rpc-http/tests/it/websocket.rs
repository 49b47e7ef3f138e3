//! Calls over WebSocket, one message a text frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Context, ErrorObject, Limits, Stream, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::serve_set;

#[rpc]
trait Lab {
    async fn add(&self, a: i64, b: i64) -> i64;

    /// Returns after the call of `open`.
    async fn gate(&self) -> &'static str;

    async fn open(&self);

    /// Never returns.
    async fn wait(&self);

    fn count(&self, to: u64) -> impl Stream<Item = u64>;

    /// Counts without end.
    fn flood(&self) -> impl Stream<Item = String>;

    async fn sum(&self, numbers: impl Stream<Item = i64>) -> i64;

    fn double(&self, numbers: impl Stream<Item = i64>) -> impl Stream<Item = i64>;

    /// Asks the client for its name.
    async fn meet(&self, cx: &Context) -> Result<String, ErrorObject>;

    async fn user(&self, cx: &Context) -> String;
}

#[rpc]
trait Person {
    async fn name(&self) -> String;
}

#[derive(Clone)]
struct Bench {
    gate: Arc<tokio::sync::Notify>,
    events: mpsc::UnboundedSender<&'static str>,
    produced: Arc<AtomicUsize>,
}

struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Lab for Bench {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn gate(&self) -> &'static str {
        self.gate.notified().await;
        "open"
    }

    async fn open(&self) {
        self.gate.notify_one();
    }

    async fn wait(&self) {
        let _dropped = Dropped(self.events.clone());
        let _ = self.events.send("started");
        std::future::pending().await
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        futures_util::stream::iter(1..=to)
    }

    fn flood(&self) -> impl Stream<Item = String> {
        let produced = Arc::clone(&self.produced);
        futures_util::stream::repeat_with(move || {
            produced.fetch_add(1, Ordering::Relaxed);
            "x".repeat(1000)
        })
    }

    async fn sum(&self, numbers: impl Stream<Item = i64>) -> i64 {
        numbers
            .fold(0, |sum, number| async move { sum + number })
            .await
    }

    fn double(&self, numbers: impl Stream<Item = i64>) -> impl Stream<Item = i64> {
        numbers.map(|number| 2 * number)
    }

    async fn meet(&self, cx: &Context) -> Result<String, ErrorObject> {
        let name = cx.client::<PersonClient>().name().await;
        let name = name.map_err(|error| ErrorObject::new(1, error.to_string()))?;
        Ok(format!("Hello, {name}!"))
    }

    async fn user(&self, cx: &Context) -> String {
        cx.meta("authorization").unwrap_or_default().to_owned()
    }
}

struct Served {
    address: SocketAddr,
    services: ServiceSet,
    gate: Arc<tokio::sync::Notify>,
    events: mpsc::UnboundedReceiver<&'static str>,
    produced: Arc<AtomicUsize>,
}

async fn serve() -> Served {
    let (sender, events) = mpsc::unbounded_channel();
    let produced = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(tokio::sync::Notify::new());
    let bench = Bench {
        gate: Arc::clone(&gate),
        events: sender,
        produced: Arc::clone(&produced),
    };
    let limits = Limits {
        max_request_bytes: 10_000,
        first_byte_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let services = ServiceSet::builder()
        .service(LabServer::new(bench))
        .limits(limits);
    let services = services.build().unwrap();
    Served {
        address: serve_set(services.clone()).await,
        services,
        gate,
        events,
        produced,
    }
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(served: &Served) -> Self {
        let (socket, _) = connect_async(format!("ws://{}/", served.address))
            .await
            .unwrap();
        Self(socket)
    }

    async fn send(&mut self, message: &str) {
        self.0.send(Message::text(message)).await.unwrap();
    }

    /// Receives the next frame, and returns its text.
    async fn receive(&mut self) -> String {
        let frame = tokio::time::timeout(Duration::from_secs(10), self.0.next());
        let frame = frame.await.expect("a frame arrives").unwrap().unwrap();
        frame.into_text().unwrap().to_string()
    }

    /// Receives the close of the server, and returns its code and reason.
    async fn closed(&mut self) -> (u16, String) {
        while let Some(frame) = self.0.next().await {
            if let Message::Close(Some(close)) = frame.unwrap() {
                return (close.code.into(), close.reason.to_string());
            }
        }
        panic!("the server closes with a code");
    }

    /// Sends the lines with `-->` and expects those with `<--`, in the order of the transcript.
    async fn follow(&mut self, transcript: &str) {
        for line in transcript
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            match line.split_once(' ').unwrap() {
                ("-->", sent) => self.send(sent).await,
                ("<--", expected) => assert_eq!(self.receive().await, expected),
                _ => panic!("{line}"),
            }
        }
    }
}

#[tokio::test]
async fn call_notification_and_batch_are_a_frame_each() {
    Client::connect(&serve().await).await.follow(r#"
        --> {"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":1,"result":3}
        --> {"jsonrpc":"2.0","method":"open"}
        --> [{"jsonrpc":"2.0","id":"a","method":"add","params":[1,2]},{"jsonrpc":"2.0","method":"open"}]
        <-- [{"jsonrpc":"2.0","id":"a","result":3}]
        --> {"jsonrpc":"2.0","id":2,"method":"none"}
        <-- {"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found","data":"there is no method `none`"}}
        --> {nonsense
        <-- {"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}
    "#).await;
}

#[tokio::test]
async fn calls_run_at_the_same_time_and_are_answered_as_they_end() {
    Client::connect(&serve().await)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"gate"}
        --> {"jsonrpc":"2.0","id":2,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":2,"result":3}
        --> {"jsonrpc":"2.0","id":3,"method":"open"}
        <-- {"jsonrpc":"2.0","id":3,"result":null}
        <-- {"jsonrpc":"2.0","id":1,"result":"open"}
    "#,
        )
        .await;
}

#[tokio::test]
async fn socket_without_calls_stays_open() {
    let mut client = Client::connect(&serve().await).await;
    let frame = tokio::time::timeout(Duration::from_millis(500), client.0.next());
    assert!(frame.await.is_err(), "nothing arrives");
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":1,"result":3}
    "#,
        )
        .await;
}

#[tokio::test]
async fn message_of_several_lines_is_one_message() {
    let mut client = Client::connect(&serve().await).await;
    client.send("{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 1,\n  \"method\": \"add\",\n  \"params\": [1, 2]\n}\n").await;
    assert_eq!(
        client.receive().await,
        r#"{"jsonrpc":"2.0","id":1,"result":3}"#
    );
    client
        .send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\ndd\"}")
        .await;
    assert!(client.receive().await.contains("-32700"));
}

#[tokio::test]
async fn binary_frame_is_a_message_too() {
    let mut client = Client::connect(&serve().await).await;
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}"#;
    client.0.send(Message::binary(call.to_vec())).await.unwrap();
    assert_eq!(
        client.receive().await,
        r#"{"jsonrpc":"2.0","id":1,"result":3}"#
    );
}

#[tokio::test]
async fn items_of_the_server_arrive_before_the_reply() {
    Client::connect(&serve().await)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":"c","method":"count","params":[2]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":["c",1]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":["c",2]}
        <-- {"jsonrpc":"2.0","id":"c","result":null}
    "#,
        )
        .await;
}

#[tokio::test]
async fn items_of_the_client_reach_their_call() {
    Client::connect(&serve().await)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"sum"}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,19]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":{"id":1,"item":23}}
        --> {"jsonrpc":"2.0","method":"rpc.end","params":[1]}
        <-- {"jsonrpc":"2.0","id":1,"result":42}
    "#,
        )
        .await;
}

#[tokio::test]
async fn items_of_two_calls_in_both_directions_are_interleaved() {
    Client::connect(&serve().await)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"double"}
        --> {"jsonrpc":"2.0","id":2,"method":"double"}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[1,1]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[2,10]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[2,20]}
        --> {"jsonrpc":"2.0","method":"rpc.end","params":[1]}
        <-- {"jsonrpc":"2.0","id":1,"result":null}
        --> {"jsonrpc":"2.0","id":3,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":3,"result":3}
        --> {"jsonrpc":"2.0","method":"rpc.end","params":[2]}
        <-- {"jsonrpc":"2.0","id":2,"result":null}
    "#,
        )
        .await;
}

#[tokio::test]
async fn server_calls_the_client_within_a_call() {
    Client::connect(&serve().await)
        .await
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":0,"method":"meet"}
        <-- {"jsonrpc":"2.0","id":0,"method":"name"}
        --> {"jsonrpc":"2.0","id":0,"result":"Ada"}
        <-- {"jsonrpc":"2.0","id":0,"result":"Hello, Ada!"}
    "#,
        )
        .await;
}

#[tokio::test]
async fn cancelled_call_and_cancelled_stream_are_answered_as_cancelled() {
    let mut served = serve().await;
    let mut client = Client::connect(&served).await;
    client
        .send(r#"{"jsonrpc":"2.0","id":1,"method":"wait"}"#)
        .await;
    assert_eq!(served.events.recv().await, Some("started"));
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","method":"rpc.cancel","params":[1]}
        <-- {"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"Cancelled"}}
        --> {"jsonrpc":"2.0","id":2,"method":"double"}
        --> {"jsonrpc":"2.0","method":"rpc.item","params":[2,1]}
        <-- {"jsonrpc":"2.0","method":"rpc.item","params":[2,2]}
        --> {"jsonrpc":"2.0","method":"rpc.cancel","params":[2]}
        <-- {"jsonrpc":"2.0","id":2,"error":{"code":-32001,"message":"Cancelled"}}
    "#,
        )
        .await;
    assert_eq!(served.events.recv().await, Some("dropped"));
}

#[tokio::test]
async fn client_that_disconnects_cancels_its_calls() {
    let mut served = serve().await;
    let mut client = Client::connect(&served).await;
    client
        .send(r#"{"jsonrpc":"2.0","id":1,"method":"wait"}"#)
        .await;
    assert_eq!(served.events.recv().await, Some("started"));
    drop(client);
    assert_eq!(served.events.recv().await, Some("dropped"));
}

#[tokio::test]
async fn stream_that_the_client_does_not_read_stops_its_producer() {
    let served = serve().await;
    let mut client = Client::connect(&served).await;
    client
        .send(r#"{"jsonrpc":"2.0","id":1,"method":"flood"}"#)
        .await;
    client.receive().await;
    // The producer stops once the buffers are full. Other clients are served meanwhile.
    let mut other = Client::connect(&served).await;
    let mut last = usize::MAX;
    while last != served.produced.load(Ordering::Relaxed) {
        last = served.produced.load(Ordering::Relaxed);
        for _ in 0..100 {
            other
                .follow(
                    r#"
                --> {"jsonrpc":"2.0","id":2,"method":"add","params":[1,2]}
                <-- {"jsonrpc":"2.0","id":2,"result":3}
            "#,
                )
                .await;
        }
    }
    // The buffers of the kernel are the largest part.
    assert!(last < 20_000, "{last} items of 1 kB");
}

#[tokio::test]
async fn message_that_is_too_large_closes_with_1009_and_names_the_limit() {
    let mut client = Client::connect(&serve().await).await;
    client.send(&"x".repeat(10_001)).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 1009);
    assert!(reason.contains("Limits::max_request_bytes"), "{reason}");
}

#[tokio::test]
async fn close_of_the_client_is_answered_with_its_code() {
    let mut client = Client::connect(&serve().await).await;
    let close = CloseFrame {
        code: CloseCode::Away,
        reason: "leaving".into(),
    };
    client.0.close(Some(close)).await.unwrap();
    assert_eq!(client.closed().await.0, 1001);
    assert!(client.0.next().await.is_none());
}

#[tokio::test]
async fn close_of_the_server_arrives_though_the_client_still_sends() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let handshake = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    // A text frame that is too large, with the mask 0.
    let mut frame = vec![0x81, 0xff];
    frame.extend_from_slice(&1_000_000_u64.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(100_000, b'x');
    stream.write_all(&frame).await.unwrap();
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    let read = tokio::time::timeout(Duration::from_secs(10), read);
    read.await.expect("the server closes").unwrap();
    let close = received.windows(4).find(|bytes| bytes[0] == 0x88);
    assert_eq!(close.unwrap()[2..], 1009_u16.to_be_bytes());
}

#[tokio::test]
async fn client_that_causes_excessive_load_is_closed_with_1008() {
    let served = serve().await;
    let mut client = Client::connect(&served).await;
    for _ in 0..2_000 {
        if client.0.send(Message::text("{nonsense")).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed().await.0, 1008);
}

#[tokio::test]
async fn shutdown_answers_running_calls_and_closes_with_1012() {
    let served = serve().await;
    let mut client = Client::connect(&served).await;
    client
        .send(r#"{"jsonrpc":"2.0","id":1,"method":"gate"}"#)
        .await;
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":2,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":2,"result":3}
    "#,
        )
        .await;
    let handle = served.services.handle();
    let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(10)).await });
    served.services.handle().draining().await;
    client
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":3,"method":"add","params":[1,2]}
        <-- {"jsonrpc":"2.0","id":3,"error":{"code":-32003,"message":"Shutting down"}}
    "#,
        )
        .await;
    served.gate.notify_one();
    assert_eq!(
        client.receive().await,
        r#"{"jsonrpc":"2.0","id":1,"result":"open"}"#
    );
    assert_eq!(client.closed().await.0, 1012);
    assert!(shutdown.await.unwrap());
}

async fn refused(served: &Served, header: (&'static str, &str)) -> u16 {
    let mut request = format!("ws://{}/", served.address)
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert(header.0, header.1.parse().unwrap());
    match connect_async(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn page_of_another_origin_and_another_host_have_status_403() {
    let served = serve().await;
    assert_eq!(
        refused(&served, ("origin", "https://evil.example")).await,
        403
    );
    assert_eq!(refused(&served, ("host", "evil.example")).await, 403);
}

#[tokio::test]
async fn other_version_of_websocket_has_status_426() {
    assert_eq!(
        refused(&serve().await, ("sec-websocket-version", "8")).await,
        426
    );
}

#[tokio::test]
async fn subprotocol_is_confirmed_if_it_is_requested() {
    let served = serve().await;
    for (requested, confirmed) in [
        ("jsonrpc-1", Some("jsonrpc-1")),
        ("x, jsonrpc-1", Some("jsonrpc-1")),
    ] {
        let mut request = format!("ws://{}/", served.address)
            .into_client_request()
            .unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", requested.parse().unwrap());
        let (_, response) = connect_async(request).await.unwrap();
        let header = response.headers().get("sec-websocket-protocol");
        assert_eq!(header.map(|value| value.to_str().unwrap()), confirmed);
    }
}

#[tokio::test]
async fn handlers_see_the_metadata_of_the_handshake() {
    let served = serve().await;
    let mut request = format!("ws://{}/", served.address)
        .into_client_request()
        .unwrap();
    request
        .headers_mut()
        .insert("authorization", "Bearer 7".parse().unwrap());
    let (socket, _) = connect_async(request).await.unwrap();
    Client(socket)
        .follow(
            r#"
        --> {"jsonrpc":"2.0","id":1,"method":"user"}
        <-- {"jsonrpc":"2.0","id":1,"result":"Bearer 7"}
    "#,
        )
        .await;
}
