//! What callers are told of calls on a connection that a server of somebody else's closes.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rpc_runtime::{Call, CallError, Client, ErrorObject, Fate, Trust};

use crate::peer::{listen, soon};

/// All that was executed is answered.
const SHUT_DOWN: u32 = 0x10;
const CUT_OFF: u32 = 0x11;

/// How much a server takes of a stream before it reads.
const WINDOW: u32 = 1 << 10;

/// More than that.
const LONG: usize = 10_000;

/// A message of this size has a stream of its own.
const LARGE: usize = 20_000;

struct Stranger {
    endpoint: Endpoint,
    trust: Trust,
}

impl Stranger {
    fn new() -> Self {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(WINDOW));
        let (endpoint, trust) = listen(transport);
        Self { endpoint, trust }
    }

    async fn accept(&self) -> Connection {
        soon(async { self.endpoint.accept().await.unwrap().await })
            .await
            .unwrap()
    }

    async fn connect(&self) -> Client {
        let millisecond = Duration::from_millis(1);
        Client::builder()
            .trust(self.trust.clone())
            .server_name("localhost")
            .reconnect_backoff(millisecond, millisecond)
            .connect(self.endpoint.local_addr().unwrap())
            .await
            .unwrap()
    }

    async fn meet(&self) -> (Client, Connection) {
        tokio::join!(self.connect(), self.accept())
    }
}

type Five = Call<i64, ErrorObject>;

fn call(client: &Client, own_stream: bool) -> Five {
    let call = client.call("five", &());
    match own_stream {
        true => call.own_stream(),
        false => call,
    }
}

/// The next request's stream, of which a byte has come.
async fn request(connection: &Connection) -> (SendStream, RecvStream) {
    let (send, mut recv) = soon(connection.accept_bi()).await.unwrap();
    soon(recv.read_exact(&mut [0])).await.unwrap();
    (send, recv)
}

#[track_caller]
fn assert_fate<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, CallError<E>>,
    expected: Fate,
) {
    match result {
        Err(CallError::Connection { fate, .. }) => assert_eq!(fate, expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_closes_says_whether_it_has_executed_what_it_did_not_answer() {
    for own_stream in [false, true] {
        for (code, fate) in [
            (SHUT_DOWN, Fate::NotExecuted),
            (CUT_OFF, Fate::MayHaveExecuted),
            (0, Fate::MayHaveExecuted),
        ] {
            let stranger = Stranger::new();
            let (client, connection) = stranger.meet().await;
            let call = tokio::spawn(call(&client, own_stream).no_retry());
            let _stream = request(&connection).await;
            connection.close(code.into(), b"");
            assert_fate(soon(call).await.unwrap(), fate);
        }
    }
}

#[tokio::test]
async fn a_call_that_was_not_executed_is_made_again_on_the_next_connection() {
    for own_stream in [false, true] {
        let stranger = Stranger::new();
        let (client, connection) = stranger.meet().await;
        let call = tokio::spawn(call(&client, own_stream));
        let _stream = request(&connection).await;
        connection.close(SHUT_DOWN.into(), b"");
        let connection = stranger.accept().await;
        let (mut send, mut recv) = soon(connection.accept_bi()).await.unwrap();
        let request = read_line(&mut recv).await;
        let request: serde_json::Value = serde_json::from_str(&request).unwrap();
        let reply = format!(r#"{{"jsonrpc":"2.0","id":{},"result":5}}"#, request["id"]);
        send.write_all(reply.as_bytes()).await.unwrap();
        send.finish().unwrap();
        assert_eq!(soon(call).await.unwrap().unwrap(), 5);
    }
}

#[tokio::test]
async fn what_waits_behind_a_request_that_is_not_taken_was_not_sent() {
    for (code, fate) in [
        (SHUT_DOWN, Fate::NotExecuted),
        (CUT_OFF, Fate::MayHaveExecuted),
    ] {
        let stranger = Stranger::new();
        let (client, connection) = stranger.meet().await;
        let long = client.call::<i64, _>("count", &["x".repeat(LONG)]);
        let long = tokio::spawn(long.no_retry());
        let _stream = request(&connection).await;
        // The window is full: nobody takes what is queued now.
        let mut queued = call(&client, false).no_retry();
        let early = tokio::time::timeout(Duration::ZERO, &mut queued).await;
        assert!(early.is_err(), "{early:?}");
        connection.close(code.into(), b"");
        assert_fate(soon(queued).await, Fate::NotSent);
        assert_fate(soon(long).await.unwrap(), fate);
    }
}

#[tokio::test]
async fn a_notification_that_left_in_part_was_not_executed() {
    for code in [SHUT_DOWN, CUT_OFF] {
        let stranger = Stranger::new();
        let (client, connection) = stranger.meet().await;
        let large = tokio::spawn(client.notify("note", &["x".repeat(LARGE)]).into_future());
        let mut recv = soon(connection.accept_uni()).await.unwrap();
        soon(recv.read_exact(&mut [0])).await.unwrap();
        connection.close(code.into(), b"");
        assert_fate(soon(large).await.unwrap(), Fate::NotExecuted);
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_sends_the_next_call_to_another_connection() {
    let refusal = r#""error":{"code":-32003,"message":"Shutting down"}"#;
    let whole = format!(r#"{{"jsonrpc":"2.0","id":null,{refusal}}}"#);
    for is_whole in [true, false] {
        let stranger = Stranger::new();
        let (client, connection) = stranger.meet().await;
        let mut batch = client.batch();
        let entry = batch.call(call(&client, false));
        let sent = tokio::spawn(batch.send());
        let (mut send, mut recv) = request(&connection).await;
        let rest = soon(recv.read_to_end(LONG)).await.unwrap();
        let rest = String::from_utf8(rest).unwrap();
        let request: serde_json::Value = serde_json::from_str(&format!("[{rest}")).unwrap();
        let one = format!(
            r#"[{{"jsonrpc":"2.0","id":{},{refusal}}}]"#,
            request[0]["id"]
        );
        let reply = if is_whole { &whole } else { &one };
        send.write_all(reply.as_bytes()).await.unwrap();
        send.finish().unwrap();
        match soon(sent).await.unwrap() {
            Err(refused) => assert_fate(Err::<(), _>(refused), Fate::NotExecuted),
            Ok(mut replies) => assert_fate(replies.take(entry), Fate::NotExecuted),
        }
        stranger.accept().await;
    }
}

#[tokio::test]
async fn an_answer_that_came_before_the_close_counts() {
    let stranger = Stranger::new();
    let (client, connection) = stranger.meet().await;
    let mut call = call(&client, true);
    let early = tokio::time::timeout(Duration::ZERO, &mut call).await;
    assert!(early.is_err(), "{early:?}");
    let (mut send, _recv) = request(&connection).await;
    let reply = r#"{"jsonrpc":"2.0","id":63,"result":5}"#;
    send.write_all(reply.as_bytes()).await.unwrap();
    send.finish().unwrap();
    soon(send.stopped()).await.unwrap();
    connection.close(SHUT_DOWN.into(), b"");
    // The client connects again: it knows.
    stranger.accept().await;
    assert_eq!(soon(call).await.unwrap(), 5);
}

/// Reads a line, byte by byte: nothing of what follows is taken.
async fn read_line(recv: &mut RecvStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        soon(recv.read_exact(&mut byte)).await.unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

/// Waits until more was sent than `before`.
async fn until_sent(sent: impl Fn() -> u64, before: u64) {
    soon(async {
        while sent() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The answer and the close find a client in the middle of a long request: both its reader and its writer have news.
#[test]
fn an_answer_that_came_with_the_close_counts() {
    let theirs = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // Which of the two is looked at first is left to chance.
    for _ in 0..20 {
        let stranger = Arc::new(theirs.block_on(async { Stranger::new() }));
        let ours = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (short, long, connection, mut send, _recv) = ours.block_on(async {
            let server = Arc::clone(&stranger);
            let accepting = theirs.spawn(async move { server.accept().await });
            let client = soon(stranger.connect()).await;
            let connection = accepting.await.unwrap();
            let short = tokio::spawn(call(&client, false).no_retry());
            let (send, mut recv) = soon(connection.accept_bi()).await.unwrap();
            read_line(&mut recv).await;
            let long = client.call::<i64, _>("count", &["x".repeat(LONG)]);
            let long = tokio::spawn(long.no_retry());
            soon(recv.read_exact(&mut [0])).await.unwrap();
            (short, long, connection, send, recv)
        });
        theirs.block_on(async {
            let reply = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":5}\n";
            let frames = || connection.stats().frame_tx.stream;
            let before = frames();
            send.write_all(reply).await.unwrap();
            until_sent(frames, before).await;
            let datagrams = || connection.stats().udp_tx.datagrams;
            let before = datagrams();
            connection.close(SHUT_DOWN.into(), b"");
            until_sent(datagrams, before).await;
        });
        ours.block_on(async {
            assert_eq!(soon(short).await.unwrap().unwrap(), 5);
            assert_fate(soon(long).await.unwrap(), Fate::NotExecuted);
        });
    }
}
