//! The execution status of calls after their connection was closed or their response was lost. The server is raw.

use std::time::Duration;

use rpc_runtime::{
    Call, CallError, Client, ClientBuilder, ConnectionError, ErrorObject, Execution,
};
use serde_json::Value;
use tests::message;
use tests::peer::{
    ABORTED, PROTOCOL, RawConnection, RawServer, RawStream, SHUT_DOWN, receive_window,
};
use tests::support::{current_thread, eventually, soon};

/// The receive window of a stream.
const WINDOW: u32 = 1 << 10;

/// The size of a message that exceeds the window.
const LONG: usize = 10_000;

/// The size of a message that is sent on a dedicated stream.
const LARGE: usize = 20_000;

/// A raw server with a small receive window.
struct Peer(RawServer);

impl Peer {
    fn new() -> Self {
        Self(RawServer::with(PROTOCOL, receive_window(WINDOW)))
    }

    /// Returns a builder of clients that reconnect quickly.
    fn client(&self) -> ClientBuilder {
        let millisecond = Duration::from_millis(1);
        self.0.client().reconnect_backoff(millisecond, millisecond)
    }

    async fn meet(&self) -> (Client, RawConnection) {
        self.0.meet(self.client()).await
    }
}

type Five = Call<i64, ErrorObject>;

fn call(client: &Client, dedicated_stream: bool) -> Five {
    let call = client.call("five", &());
    match dedicated_stream {
        true => call.dedicated_stream(),
        false => call,
    }
}

/// Accepts the stream of the next request, and reads its first byte.
async fn request(connection: &RawConnection) -> RawStream {
    let mut stream = connection.accept().await;
    stream.read_byte().await;
    stream
}

#[track_caller]
fn assert_execution<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, CallError<E>>,
    expected: Execution,
) {
    match result {
        Err(CallError::Connection { execution, .. }) => assert_eq!(execution, expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn close_code_decides_whether_calls_may_have_been_executed() {
    for dedicated_stream in [false, true] {
        for (code, execution) in [
            (SHUT_DOWN, Execution::NotExecuted),
            (ABORTED, Execution::MayHaveExecuted),
            (0u32.into(), Execution::MayHaveExecuted),
        ] {
            let peer = Peer::new();
            let (client, connection) = peer.meet().await;
            let call = tokio::spawn(call(&client, dedicated_stream).no_retry());
            let _stream = request(&connection).await;
            connection.close(code, b"");
            assert_execution(soon(call).await.unwrap(), execution);
        }
    }
}

#[tokio::test]
async fn call_not_executed_is_retried_on_the_next_connection() {
    for dedicated_stream in [false, true] {
        let peer = Peer::new();
        let (client, connection) = peer.meet().await;
        let call = tokio::spawn(call(&client, dedicated_stream));
        let _stream = request(&connection).await;
        connection.close(SHUT_DOWN, b"");
        let connection = peer.0.accept().await;
        let (mut stream, request) = connection.accept_call().await;
        stream
            .write_line(message::result(request["id"].clone(), 5))
            .await;
        stream.finish();
        assert_eq!(soon(call).await.unwrap().unwrap(), 5);
    }
}

#[tokio::test]
async fn call_is_not_sent_again_after_a_line_that_may_have_been_meant_as_its_reply() {
    for dedicated_stream in [false, true] {
        for line in ["", r#"{"jsonrpc":"2.0","id":ID,"method":"five"}"#] {
            let peer = Peer::new();
            let (client, connection) = peer.meet().await;
            let call = tokio::spawn(call(&client, dedicated_stream));
            let (mut stream, request) = connection.accept_call().await;
            let line = line.replace("ID", &request["id"].to_string());
            stream.write(line + "\n").await;
            stream.finish();
            assert_execution(soon(call).await.unwrap(), Execution::MayHaveExecuted);
        }
    }
}

#[tokio::test]
async fn retried_call_sends_the_time_that_is_left() {
    let peer = Peer::new();
    let (client, connection) = peer.meet().await;
    let call = call(&client, false).timeout(Duration::from_secs(60));
    let _call = tokio::spawn(call);
    let timeout = |request: &Value| request["timeout"].as_f64().unwrap();
    let (_stream, first) = connection.accept_call().await;
    assert!(timeout(&first) <= 60_000.0, "{first}");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    connection.close(SHUT_DOWN, b"");
    let (_stream, second) = peer.0.accept().await.accept_call().await;
    assert!(timeout(&second) <= timeout(&first) - 5_000.0, "{second}");
}

#[tokio::test]
async fn close_reason_with_control_characters_is_escaped() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client().reconnect(false)).await;
    connection.close(7u32.into(), b"a\n\x1b[31m");
    let lost = soon(client.closed()).await;
    let escaped = r"a\n\u{1b}[31m";
    match &lost {
        ConnectionError::ClosedByPeer { code: 7, reason } => assert_eq!(&**reason, escaped),
        other => panic!("{other:?}"),
    }
    let shown = lost.to_string();
    assert!(shown.contains(escaped), "{shown}");
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

#[tokio::test]
async fn call_queued_behind_a_blocked_request_was_not_sent() {
    for (code, execution) in [
        (SHUT_DOWN, Execution::NotExecuted),
        (ABORTED, Execution::MayHaveExecuted),
    ] {
        let peer = Peer::new();
        let (client, connection) = peer.meet().await;
        let long = client.call::<i64, _>("count", &["x".repeat(LONG)]);
        let long = tokio::spawn(long.no_retry());
        let _stream = request(&connection).await;
        // The window is full, so this call stays in the queue.
        let mut queued = call(&client, false).no_retry();
        let early = tokio::time::timeout(Duration::ZERO, &mut queued).await;
        assert!(early.is_err(), "{early:?}");
        connection.close(code, b"");
        assert_execution(soon(queued).await, Execution::NotSent);
        assert_execution(soon(long).await.unwrap(), execution);
    }
}

#[tokio::test]
async fn notification_sent_in_part_was_not_executed() {
    for code in [SHUT_DOWN, ABORTED] {
        let peer = Peer::new();
        let (client, connection) = peer.meet().await;
        let large = tokio::spawn(client.notify("note", &["x".repeat(LARGE)]).into_future());
        let mut recv = soon(connection.accept_uni()).await.unwrap();
        soon(recv.read_exact(&mut [0])).await.unwrap();
        connection.close(code, b"");
        assert_execution(soon(large).await.unwrap(), Execution::NotExecuted);
    }
}

#[tokio::test]
async fn rejected_batch_makes_the_client_reconnect() {
    let refusal = |id: &Value| message::error(id.clone(), -32003, "Shutting down");
    for is_whole in [true, false] {
        let peer = Peer::new();
        let (client, connection) = peer.meet().await;
        let mut batch = client.batch();
        let entry = batch.call(call(&client, false));
        let sent = tokio::spawn(batch.send());
        let (mut stream, request) = connection.accept_call().await;
        stream
            .write_line(match is_whole {
                true => refusal(&Value::Null),
                false => Value::from(vec![refusal(&request[0]["id"])]),
            })
            .await;
        stream.finish();
        match soon(sent).await.unwrap() {
            Err(refused) => assert_execution(Err::<(), _>(refused), Execution::NotExecuted),
            Ok(mut replies) => assert_execution(replies.take(entry), Execution::NotExecuted),
        }
        peer.0.accept().await;
    }
}

#[tokio::test]
async fn response_received_before_the_close_is_delivered() {
    let peer = Peer::new();
    let (client, connection) = peer.meet().await;
    let mut call = call(&client, true);
    let early = tokio::time::timeout(Duration::ZERO, &mut call).await;
    assert!(early.is_err(), "{early:?}");
    let mut stream = request(&connection).await;
    stream.write_line(message::result(63, 5)).await;
    stream.finish();
    stream.stop_code().await;
    connection.close(SHUT_DOWN, b"");
    // The client has noticed the close when it connects again.
    peer.0.accept().await;
    assert_eq!(soon(call).await.unwrap(), 5);
}

/// The response and the close arrive while the client sends a long request, so that its reader and its writer are both
/// woken.
#[test]
fn response_received_with_the_close_is_delivered() {
    let theirs = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // The order in which the two run is random.
    for _ in 0..20 {
        let peer = theirs.block_on(async { Peer::new() });
        let ours = current_thread();
        let (short, long, connection, mut stream) = ours.block_on(async {
            let server = peer.0.clone();
            let accepting = theirs.spawn(async move { server.accept().await });
            let connecting = peer.client().connect(peer.0.address());
            let client = soon(connecting).await.unwrap();
            let connection = accepting.await.unwrap();
            let short = tokio::spawn(call(&client, false).no_retry());
            let (mut stream, _) = connection.accept_call().await;
            let long = client.call::<i64, _>("count", &["x".repeat(LONG)]);
            let long = tokio::spawn(long.no_retry());
            stream.read_byte().await;
            (short, long, connection, stream)
        });
        theirs.block_on(async {
            let frames = || connection.stats().frame_tx.stream;
            let before = frames();
            stream.write_line(message::result(0, 5)).await;
            eventually(|| frames() > before).await;
            let datagrams = || connection.stats().udp_tx.datagrams;
            let before = datagrams();
            connection.close(SHUT_DOWN, b"");
            eventually(|| datagrams() > before).await;
        });
        ours.block_on(async {
            assert_eq!(soon(short).await.unwrap().unwrap(), 5);
            assert_execution(soon(long).await.unwrap(), Execution::NotExecuted);
        });
    }
}

#[rpc_runtime::rpc]
trait Large {
    async fn text(&self) -> String;
}

#[tokio::test]
async fn call_rejected_on_a_dedicated_stream_is_sent_again_on_a_shared_stream() {
    let server = RawServer::start();
    let (client, connection) = server.meet(server.client()).await;
    let large = LargeClient::new(client);
    // After a large reply the next call of the method has a dedicated stream.
    let first = tokio::spawn(large.text());
    let (mut shared, request) = connection.accept_call().await;
    let text = "x".repeat(LARGE);
    let reply = message::result(request["id"].clone(), text);
    shared.write_line(reply).await;
    soon(first).await.unwrap().unwrap();
    let second = tokio::spawn(large.text());
    let (mut dedicated, request) = connection.accept_call().await;
    let rejected = message::error(request["id"].clone(), -32003, "Shutting down");
    dedicated.write_line(rejected).await;
    let next = server.accept().await;
    let (mut shared, request) = next.accept_call().await;
    let reply = message::result(request["id"].clone(), "done");
    shared.write_line(reply).await;
    assert_eq!(soon(second).await.unwrap().unwrap(), "done");
}
