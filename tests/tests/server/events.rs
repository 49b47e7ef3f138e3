//! Events of connections and limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rpc_runtime::event::{CloseReason, Event, HandshakeFailure};
use rpc_runtime::{
    CallError, Client, Identity, Limits, RpcError, Stream, TransportSettings, Trust, code, rpc,
};
use tests::log::Log;
use tests::peer::{RawClient, RawServer, TIMED_OUT};
use tests::support::{TestServer, eventually, soon};
use tokio::sync::Semaphore;

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn wait(&self);
    async fn text(&self, bytes: usize) -> String;
    fn watch(&self) -> impl Stream<Item = u64>;
}

#[derive(Clone)]
struct Clerk(Arc<Semaphore>);

impl Clerk {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn wait(&self) {
        self.0.acquire().await.unwrap().forget();
    }

    async fn text(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    fn watch(&self) -> impl Stream<Item = u64> {
        futures_util::stream::iter([1]).chain(futures_util::stream::pending())
    }
}

/// Records events as text.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    fn recorder(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let events = self.clone();
        move |event| {
            let text = match event {
                Event::ConnectionOpened { .. } => "opened".into(),
                Event::ConnectionClosed { reason, .. } => format!("closed: {}", reason.as_str()),
                Event::ConnectionRefused { limit, .. } => format!("refused: {limit}"),
                Event::HandshakeFailed { reason, .. } => format!("failed: {}", reason.as_str()),
                Event::CallWaitStarted { limit, .. } => format!("waits: {limit}"),
                Event::CallWaitEnded {
                    limit, has_started, ..
                } => format!("waited: {limit} {has_started}"),
                Event::CallRejected { limit, code, .. } => format!("rejected: {limit} {code}"),
                Event::StreamWaitStarted { limit, .. } => format!("stream waits: {limit}"),
                Event::StreamWaitEnded {
                    limit, has_opened, ..
                } => format!("stream waited: {limit} {has_opened}"),
                Event::StreamTimedOut { limit, .. } => format!("timed out: {limit}"),
                Event::ReplyDiscarded { limit, .. } => format!("discarded: {limit}"),
                Event::Connected { .. } => "connected".into(),
                Event::Disconnected { .. } => "disconnected".into(),
                event => format!("{event:?}"),
            };
            events.0.lock().unwrap().push(text);
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits for as many events as are expected.
    async fn expect<const N: usize>(&self, expected: [&str; N]) {
        eventually(|| self.len() >= N).await;
        assert_eq!(self.take(), expected);
    }
}

fn server(clerk: &Clerk, limits: Limits) -> (TestServer, Events) {
    let events = Events::default();
    let recorder = events.recorder();
    let service = DeskServer::new(clerk.clone());
    let server = TestServer::bind(|builder| {
        let builder = builder.service(service).limits(limits);
        builder.on_event(recorder).bind("127.0.0.1:0")
    });
    (server, events)
}

#[tokio::test]
async fn connection_is_reported_from_its_start_to_its_end() {
    let (server, events) = server(&Clerk::new(), Limits::default());
    let client = server.connect().await;
    assert_eq!(
        soon(DeskClient::new(client.clone()).add(1, 2))
            .await
            .unwrap(),
        3
    );
    events.expect(["opened"]).await;
    soon(client.close()).await;
    let closed = format!("closed: {}", CloseReason::ClosedByPeer.as_str());
    events.expect([&closed]).await;
}

#[tokio::test]
async fn refused_connection_is_reported_with_its_limit() {
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let _first = server.connect().await;
    let second = soon(server.client().connect(server.address)).await;
    let refused = second.unwrap_err().to_string();
    assert!(
        refused.contains("Limits::max_connections_per_address"),
        "{refused}"
    );
    events
        .expect(["opened", "refused: max_connections_per_address (1)"])
        .await;
}

#[tokio::test]
async fn failed_handshake_is_reported_with_its_reason() {
    let (server, events) = server(&Clerk::new(), Limits::default());
    let other = Identity::self_signed(["127.0.0.1"]).unwrap().certificate();
    let client = Client::builder().trust(Trust::certificate(other));
    soon(client.connect(server.address)).await.unwrap_err();
    let failed = format!("failed: {}", HandshakeFailure::ServerCertificate.as_str());
    events.expect([&failed]).await;
}

#[tokio::test]
async fn call_that_waits_for_a_limit_is_reported_with_its_limit() {
    let clerk = Clerk::new();
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    };
    let (server, events) = server(&clerk, limits);
    let desk = DeskClient::new(server.connect().await);
    events.expect(["opened"]).await;
    let (first, second) = (desk.wait(), desk.wait());
    let both = tokio::spawn(async { tokio::join!(first, second) });
    events
        .expect(["waits: max_concurrent_calls_per_connection (1)"])
        .await;
    clerk.0.add_permits(2);
    let (first, second) = soon(both).await.unwrap();
    first.and(second).unwrap();
    events
        .expect(["waited: max_concurrent_calls_per_connection (1) true"])
        .await;
}

fn data<E: RpcError>(error: CallError<E>) -> (Option<i64>, Option<String>) {
    (error.code(), error.data())
}

#[tokio::test]
async fn rejected_call_names_its_limit_in_the_error_and_the_event() {
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        reject_excess_calls: true,
        max_request_bytes: 1 << 10,
        max_response_bytes: 2 << 10,
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let client = server.connect().await;
    let desk = DeskClient::new(client.clone());
    events.expect(["opened"]).await;
    let error = soon(desk.text(4 << 10)).await.unwrap_err();
    let limit = r#""the limit is max_response_bytes (2048)""#.to_owned();
    assert_eq!(data(error), (Some(code::REPLY_TOO_LARGE), Some(limit)));
    let long = "x".repeat(2 << 10);
    let error = soon(client.call::<(), _>("add", &(long, 1)))
        .await
        .unwrap_err();
    let limit = r#""the limit is max_request_bytes (1024)""#.to_owned();
    assert_eq!(data(error), (Some(code::REQUEST_TOO_LARGE), Some(limit)));
    let waiting = tokio::spawn(desk.wait().into_future());
    soon(async { while let Ok(3) = desk.add(1, 2).await {} }).await;
    let error = soon(desk.add(1, 2)).await.unwrap_err();
    let limit = r#""max_concurrent_calls_per_connection (1) is reached: try again later""#;
    assert_eq!(
        data(error),
        (Some(code::TOO_MANY_CALLS), Some(limit.to_owned()))
    );
    waiting.abort();
    events
        .expect([
            "rejected: max_response_bytes (2048) -32008",
            "rejected: max_request_bytes (1024) -32007",
            "rejected: max_concurrent_calls_per_connection (1) -32009",
            "rejected: max_concurrent_calls_per_connection (1) -32009",
        ])
        .await;
}

#[tokio::test]
async fn stream_of_items_past_the_limit_times_out_with_the_limit() {
    let (server, _) = server(&Clerk::new(), Limits::default());
    let events = Events::default();
    let client = server.client().on_event(events.recorder());
    let client = soon(client.connect(server.address)).await.unwrap();
    let desk = DeskClient::new(client.clone());
    events.expect(["connected"]).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut watch = desk.watch();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap(), 1);
        held.push(watch);
    }
    let limit = "max_dedicated_streams (100)";
    let waited = format!("stream waited: {limit} false");
    let timeout = Duration::from_millis(50);
    for call in ["items", "call", "batch"] {
        let error = match call {
            "items" => {
                let mut watch = desk.watch().timeout(timeout);
                soon(watch.next()).await.unwrap().unwrap_err()
            }
            "call" => {
                let call = desk.add(1, 2).dedicated_stream().timeout(timeout);
                soon(call).await.unwrap_err()
            }
            _ => {
                let mut batch = client.batch().timeout(timeout);
                let _entry = batch.call(desk.add(1, 2));
                soon(batch.send()).await.unwrap_err()
            }
        };
        assert!(
            matches!(&error, CallError::TimeoutAtLimit(of) if of.contains(limit)),
            "{error}"
        );
        assert!(error.is_retryable());
        events
            .expect([&format!("stream waits: {limit}"), &waited])
            .await;
    }
    // Small calls use another stream, and a stream that ends makes room.
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    let waiting = tokio::spawn(desk.add(1, 2).dedicated_stream().into_future());
    events.expect([&format!("stream waits: {limit}")]).await;
    drop(held.pop());
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 3);
    events
        .expect([&format!("stream waited: {limit} true")])
        .await;
}

#[tokio::test]
async fn call_that_waits_for_room_in_the_shared_stream_is_reported_with_its_limit() {
    let log = Log::default();
    let _recording = log.record();
    let clerk = Clerk::new();
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    };
    let (server, _) = server(&clerk, limits);
    let events = Events::default();
    let client = server.client().on_event(events.recorder());
    let client = soon(client.connect(server.address)).await.unwrap();
    let desk = DeskClient::new(client.clone());
    let running = tokio::spawn(desk.wait().into_future());
    // Fills the windows of the stream and the queue of the client.
    let text = "x".repeat(15_000);
    let waiting: Vec<_> = (0..200)
        .map(|_| tokio::spawn(client.call::<(), _>("wait", &(&text,)).into_future()))
        .collect();
    let starts = "stream waits: shared_stream_bytes (262144)";
    let count = |events: &[String], text: &str| events.iter().filter(|e| *e == text).count();
    eventually(|| count(&events.0.lock().unwrap(), starts) > 0).await;
    eventually(|| log.has("calls wait for a stream") && log.has("shared_stream_bytes")).await;
    let timeout = Duration::from_millis(50);
    let error = soon(desk.add(1, 2).timeout(timeout)).await.unwrap_err();
    assert!(
        matches!(&error, CallError::TimeoutAtLimit(of) if of.contains("shared_stream_bytes")),
        "{error}"
    );
    clerk.0.add_permits(1);
    soon(running).await.unwrap().unwrap();
    for call in waiting {
        // The method takes no arguments.
        soon(call).await.unwrap().unwrap_err();
    }
    let events = events.take();
    let ends = [true, false].map(|has_opened| {
        let ended = format!("stream waited: shared_stream_bytes (262144) {has_opened}");
        count(&events, &ended)
    });
    assert_eq!(ends[1], 1);
    assert_eq!(count(&events, starts), ends[0] + 1);
}

#[tokio::test]
async fn message_without_room_on_the_server_names_the_limit_of_the_server() {
    let limits = Limits {
        max_memory_bytes: 512 << 10,
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let client = server.connect().await;
    events.expect(["opened"]).await;
    let large = "x".repeat(900 << 10);
    let error = soon(client.call::<i64, _>("add", &(large, 1)))
        .await
        .unwrap_err();
    let limit = "max_memory_bytes (524288)";
    let text = format!("\"{limit} is reached: try again with fewer or smaller messages at once\"");
    assert_eq!(data(error), (Some(code::MEMORY_LIMIT), Some(text)));
    // The message may wait several times.
    let mut events = events.take();
    assert_eq!(events.pop(), Some(format!("rejected: {limit} -32013")));
    assert!(!events.is_empty());
    for event in events {
        assert!(
            event.ends_with(&format!("{limit} false")) || event == format!("waits: {limit}"),
            "{event}"
        );
    }
}

#[tokio::test]
async fn lazy_client_reports_its_first_connection() {
    let (server, _) = server(&Clerk::new(), Limits::default());
    let events = Events::default();
    let client = server.client().on_event(events.recorder());
    let desk = DeskClient::new(client.connect_lazy(server.address).unwrap());
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    events.expect(["connected"]).await;
}

#[tokio::test]
async fn limit_whose_value_is_not_known_is_displayed_as_its_name() {
    let settings = TransportSettings::default().max_streams(16);
    let server = TestServer::bind(|builder| {
        let builder = builder.service(DeskServer::new(Clerk::new()));
        builder.transport(settings).bind("127.0.0.1:0")
    });
    let events = Events::default();
    let client = server.client().on_event(events.recorder());
    let client = soon(client.connect(server.address)).await.unwrap();
    let desk = DeskClient::new(client);
    events.expect(["connected"]).await;
    // One stream is that of small calls.
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    let mut held = Vec::new();
    for _ in 0..15 {
        let mut watch = desk.watch();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap(), 1);
        held.push(watch);
    }
    let mut watch = desk.watch().timeout(Duration::from_millis(50));
    let error = soon(watch.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::TimeoutAtLimit(_)), "{error}");
    events
        .expect([
            "stream waits: initial_max_streams_bidi",
            "stream waited: initial_max_streams_bidi false",
        ])
        .await;
}

#[tokio::test]
async fn panic_of_the_function_for_events_affects_no_connection() {
    let service = DeskServer::new(Clerk::new());
    let server = TestServer::bind(|builder| {
        let builder = builder.service(service);
        let builder = builder.on_event(|_: &Event<'_>| panic!("on purpose"));
        builder.bind("127.0.0.1:0")
    });
    let desk = DeskClient::new(server.connect().await);
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn stream_that_times_out_is_reported_with_its_limit() {
    let log = Log::default();
    let _recording = log.record();
    let limits = Limits {
        first_byte_timeout: Duration::from_millis(50),
        message_timeout: Duration::from_millis(60),
        write_timeout: Duration::from_millis(70),
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let connection = RawClient::connect_with_small_window(&server).await;
    events.expect(["opened"]).await;
    for (sent, limit) in [
        ("{", "message_timeout (60 ms)"),
        ("", "first_byte_timeout (50 ms)"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"text","params":[300000]}"#,
            "write_timeout (70 ms)",
        ),
    ] {
        let mut stream = connection.send(sent).await;
        if sent.is_empty() {
            // The server learns of the stream with the next one.
            connection.exchange("\n").await;
        } else if sent.len() > 1 {
            stream.write("\n").await;
        }
        events.expect([&format!("timed out: {limit}")]).await;
        let name = limit.split(' ').next().unwrap();
        assert!(log.has(name), "{name}");
    }
    assert_eq!(log.count("streams timed out"), 3);
}

#[tokio::test]
async fn message_that_is_nested_too_deeply_names_its_limit() {
    let (server, events) = server(&Clerk::new(), Limits::default());
    let connection = RawClient::connect(&server).await;
    let replies = connection.exchange("[".repeat(129) + "\n").await;
    assert_eq!(
        replies[0]["error"]["data"], "the limit is max_depth (128)",
        "{replies:?}"
    );
    events
        .expect(["opened", "rejected: max_depth (128) -32700"])
        .await;
}

#[tokio::test]
async fn reply_left_out_of_a_batch_names_its_limit() {
    let limits = Limits {
        max_response_bytes: 2 << 10,
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let client = server.connect().await;
    let desk = DeskClient::new(client.clone());
    let mut batch = client.batch();
    let entries = [batch.call(desk.text(1000)), batch.call(desk.text(1000))];
    let mut replies = soon(batch.send()).await.unwrap();
    let [first, second] = entries.map(|entry| replies.take(entry));
    assert_eq!(first.unwrap().len(), 1000);
    let limit = r#""the limit is max_response_bytes (2048)""#.to_owned();
    let second = data(second.unwrap_err());
    assert_eq!(second, (Some(code::BATCH_REPLY_TOO_LARGE), Some(limit)));
    events
        .expect(["opened", "rejected: max_response_bytes (2048) -32011"])
        .await;
}

#[tokio::test]
async fn batch_without_room_has_the_same_code_in_the_reply_and_the_event() {
    let limits = Limits {
        max_memory_bytes_per_connection: 256 << 10,
        ..Limits::default()
    };
    let (server, events) = server(&Clerk::new(), limits);
    let client = server.connect().await;
    let desk = DeskClient::new(client.clone());
    let mut batch = client.batch();
    let entries: Vec<_> = (0..60).map(|_| batch.call(desk.text(14 << 10))).collect();
    let mut replies = soon(batch.send()).await.unwrap();
    let failed: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| replies.take(entry).err().map(data))
        .collect();
    assert!(!failed.is_empty());
    let limit = r#""max_memory_bytes_per_connection (262144) is reached""#.to_owned();
    for failed in &failed {
        let expected = (Some(code::BATCH_REPLY_TOO_LARGE), Some(limit.clone()));
        assert_eq!(*failed, expected);
    }
    let rejected = "rejected: max_memory_bytes_per_connection (262144) -32011";
    let events = events.take();
    let rejected = events.iter().filter(|event| *event == rejected).count();
    assert_eq!(rejected, failed.len(), "{events:?}");
}

#[tokio::test]
async fn reply_that_is_larger_than_the_client_accepts_names_the_setting() {
    let (server, _) = server(&Clerk::new(), Limits::default());
    let events = Events::default();
    let client = server.client().max_response_bytes(1 << 10);
    let client = client.on_event(events.recorder());
    let desk = DeskClient::new(soon(client.connect(server.address)).await.unwrap());
    for is_dedicated in [false, true] {
        let call = desk.text(2 << 10);
        let call = match is_dedicated {
            true => call.dedicated_stream(),
            false => call,
        };
        let error = soon(call).await.unwrap_err().to_string();
        assert!(
            error.contains("`ClientBuilder::max_response_bytes` (1024)"),
            "{error}"
        );
    }
    let discarded = "discarded: ClientBuilder::max_response_bytes (1024)";
    events.expect(["connected", discarded, discarded]).await;
}

#[tokio::test]
async fn stream_that_timed_out_names_the_limits_of_time_in_the_error() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client().reconnect(false)).await;
    let call = tokio::spawn(DeskClient::new(client).add(1, 2).into_future());
    let (mut stream, _) = connection.accept_call().await;
    stream.reset(TIMED_OUT);
    let error = soon(call).await.unwrap().unwrap_err().to_string();
    for limit in ["first_byte_timeout", "message_timeout", "write_timeout"] {
        assert!(error.contains(limit), "{error}");
    }
}

#[tokio::test]
async fn error_of_an_unknown_method_has_its_name_escaped_and_bounded() {
    let (server, _) = server(&Clerk::new(), Limits::default());
    let client = server.connect().await;
    let long = "subtract\n".repeat(100);
    let escaped = "subtract\\\\n".repeat(12) + "subtract…";
    for (method, shown) in [("subtract", "subtract"), (&long, &escaped)] {
        let error = soon(client.call::<i64, _>(method, &(1, 2))).await;
        let data_of = data(error.unwrap_err());
        let expected = format!("\"there is no method `{shown}`\"");
        assert_eq!(data_of, (Some(code::METHOD_NOT_FOUND), Some(expected)));
    }
}

#[tokio::test]
async fn client_that_cannot_connect_warns_once_with_the_whole_reason() {
    let log = Log::default();
    let _recording = log.record();
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let (server, _) = server(&Clerk::new(), limits);
    let _first = server.connect().await;
    let pause = Duration::from_millis(1);
    let client = server.client().reconnect_backoff(pause, pause);
    let client = client.connect_lazy(server.address).unwrap();
    let refused = soon(client.ready()).await.unwrap_err().to_string();
    assert!(refused.contains(&server.address.to_string()), "{refused}");
    eventually(|| log.count("attempt to connect failed") > 3).await;
    assert_eq!(log.count("cannot connect"), 1);
    // The last words of the text.
    assert!(log.has("or raise the limit that the log of the server names"));
}
