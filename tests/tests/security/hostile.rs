//! Hostile servers and clients: the data that they send or do not read affects no other peer and takes bounded memory.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use rpc_runtime::{CallError, Client, ErrorObject, Execution, Limits, rpc};
use serde_json::Value;
use tests::message::{call_line, result};
use tests::peer::{
    CANCELLED, PROTOCOL, RawClient, RawConnection, RawServer, RawStream, receive_window,
};
use tests::support::{TestServer, current_thread, eventually, soon};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

/// A raw server that only grants streams, and its client.
struct Pair {
    client: Client,
    connection: RawConnection,
    _server: RawServer,
}

impl Pair {
    async fn meet() -> Self {
        Self::granting(100, 100).await
    }

    /// Grants this number of streams, and 64 KiB on each.
    async fn granting(bidirectional: u32, unidirectional: u32) -> Self {
        let mut transport = receive_window(64 << 10);
        transport
            .max_concurrent_bidi_streams(bidirectional.into())
            .max_concurrent_uni_streams(unidirectional.into());
        let server = RawServer::with(PROTOCOL, transport);
        let (client, connection) = server.meet(server.client().streams(1)).await;
        Self {
            client,
            connection,
            _server: server,
        }
    }

    /// Makes a call, and returns it with its stream once its first byte has arrived.
    async fn call(&self) -> (JoinHandle<Result<i64, CallError<ErrorObject>>>, RawStream) {
        let call = tokio::spawn(self.client.call::<i64, _>("five", &()));
        let mut stream = self.connection.accept().await;
        stream.read_byte().await;
        (call, stream)
    }

    async fn send_more_than_is_taken(&self) {
        let text = "x".repeat(10_000);
        for _ in 0..10 {
            let note = self.client.notify("note", &[&text]);
            soon(note.into_future()).await.unwrap();
        }
    }
}

/// Reads all bidirectional streams and answers nothing.
async fn discard(connection: RawConnection) {
    let mut streams = JoinSet::new();
    while let Ok((send, mut recv)) = connection.accept_bi().await {
        streams.spawn(async move {
            while let Ok(Some(_)) = recv.read_chunk(usize::MAX, true).await {}
            drop(send);
        });
    }
}

#[tokio::test]
async fn callers_waiting_for_buffer_space_continue_after_their_stream_is_reset() {
    let Pair {
        client,
        connection,
        _server,
    } = Pair::meet().await;
    let mut notifications = JoinSet::new();
    // More than the queue of the client and the window of the stream hold, so that some callers wait.
    for _ in 0..400 {
        notifications.spawn(client.notify("note", &["x".repeat(2000)]).into_future());
    }
    let mut stream = connection.accept().await;
    stream.read_byte().await;
    stream.reset(CANCELLED);
    stream.stop(CANCELLED);
    let others = tokio::spawn(discard(connection));
    for ended in soon(notifications.join_all()).await {
        ended.unwrap();
    }
    others.abort();
}

#[tokio::test]
async fn client_closes_although_the_server_grants_no_streams() {
    let pair = Pair::granting(0, 0).await;
    pair.client.notify("note", &[1]).await.unwrap();
    soon(pair.client.close()).await;
    soon(pair.connection.closed()).await;
}

#[tokio::test]
async fn client_closes_although_the_server_reads_nothing() {
    let pair = Pair::meet().await;
    pair.send_more_than_is_taken().await;
    soon(pair.client.close()).await;
    soon(pair.connection.closed()).await;
}

#[tokio::test]
async fn dropped_client_disconnects_although_the_server_grants_no_streams() {
    let pair = Pair::granting(0, 0).await;
    pair.client.notify("note", &[1]).await.unwrap();
    drop(pair.client);
    soon(pair.connection.closed()).await;
}

#[tokio::test]
async fn dropped_client_disconnects_although_the_server_reads_nothing() {
    let pair = Pair::meet().await;
    pair.send_more_than_is_taken().await;
    drop(pair.client);
    soon(pair.connection.closed()).await;
}

#[tokio::test]
async fn call_with_a_truncated_response_may_have_been_executed() {
    let whole = r#"{"jsonrpc":"2.0","id":0,"result":5}"#;
    for cut in [
        "{",
        r#"{"jsonrpc":"2.0","id":0,"#,
        &whole[..whole.len() - 1],
    ] {
        let pair = Pair::meet().await;
        let (call, mut stream) = pair.call().await;
        stream.write(cut).await;
        stream.finish();
        let ended = soon(call).await.unwrap().unwrap_err();
        let as_if_nothing_had_happened = matches!(
            ended,
            CallError::Connection {
                execution: Execution::NotExecuted | Execution::NotSent,
                ..
            }
        );
        assert!(!as_if_nothing_had_happened, "{cut}: {ended:?}");
    }
}

#[tokio::test]
async fn last_response_without_newline_is_read() {
    let pair = Pair::meet().await;
    let (call, mut stream) = pair.call().await;
    stream.write(result(0, 5).to_string()).await;
    stream.finish();
    assert_eq!(soon(call).await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn response_with_an_id_that_no_call_had_ends_the_only_call() {
    for id in [1_u64, 64, 1 << 26, 1 << 52, 1 << 58, 1 << 63] {
        let pair = Pair::meet().await;
        let (call, mut stream) = pair.call().await;
        stream.write_line(result(id, id)).await;
        let ended = soon(call).await.unwrap();
        assert!(matches!(ended, Err(CallError::Decode(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn response_with_an_id_that_another_call_may_have_had_is_ignored() {
    let pair = Pair::meet().await;
    let (call, mut stream) = pair.call().await;
    // A call on a dedicated stream.
    for id in [63, 0] {
        stream.write_line(result(id, id)).await;
    }
    assert_eq!(soon(call).await.unwrap().unwrap(), 0);
}

#[test]
fn cancellations_that_the_server_does_not_read_are_bounded() {
    const CANCELLED: usize = 50_000;
    let runtime = current_thread();
    let (client, _server, _reading) = runtime.block_on(async {
        let pair = Pair::granting(100, 0).await;
        let reading = tokio::spawn(discard(pair.connection));
        (pair.client, pair._server, reading)
    });
    let cancel = |calls: usize| {
        runtime.block_on(async {
            for _ in 0..calls / 100 {
                let mut calls: Vec<_> = (0..100)
                    .map(|_| Box::pin(client.call::<(), _>("wait", &())))
                    .collect();
                std::future::poll_fn(|cx| {
                    for call in &mut calls {
                        assert!(call.as_mut().poll(cx).is_pending());
                    }
                    Poll::Ready(())
                })
                .await;
                drop(calls);
                // Queued messages are sent before there are more.
                let mut note = pin!(client.notify("note", &[1]).into_future());
                soon(note.as_mut()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    };
    cancel(1000);
    let kept = allocation_counter::measure(|| cancel(CANCELLED)).bytes_current;
    // Each cancellation has 70 bytes.
    assert!(kept < 2 << 20, "{kept} bytes");
}

#[rpc]
trait Target {
    async fn echo(&self, value: Value) -> Value;
    async fn blob(&self, size: usize) -> String;
    async fn sleep(&self, milliseconds: u64) -> u64;
    #[rpc(blocking)]
    fn block(&self, milliseconds: u64) -> u64;
}

struct Echo;

impl Target for Echo {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn sleep(&self, milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }

    fn block(&self, milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
}

/// Returns messages, some of them damaged.
fn messages(rng: &mut Rng) -> Vec<u8> {
    const SOUND: [&str; 8] = [
        r#"{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":"a\u0001","method":"sleep","params":{"milliseconds":3}}"#,
        r#"[{"jsonrpc":"2.0","id":2,"method":"sleep","params":[5]},{"jsonrpc":"2.0","id":2,"method":"echo","params":[5],"timeout":1},7,[]]"#,
        r#"{"jsonrpc":"2.0","id":-9223372036854775808,"method":"blob","params":[4900],"meta":{"a":"b"},"timeout":0.5}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":2,"early":true}}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":[1]}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"block","params":[2],"timeout":1}"#,
        r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"echo","params":[[[[1e308,"\ud83d\ude00"]]]]}"#,
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(..12) {
        let mut message = SOUND[rng.usize(..SOUND.len())].as_bytes().to_vec();
        for _ in 0..[0, 0, 1, 3][rng.usize(..4)] {
            let at = rng.usize(..message.len());
            match rng.usize(..3) {
                0 => message[at] = rng.usize(..256) as u8,
                1 => drop(message.remove(at)),
                _ => message.insert(at, b"{}[]\",:\\"[rng.usize(..8)]),
            }
        }
        bytes.extend(message);
        bytes.push(b'\n');
    }
    if rng.usize(..10) == 0 {
        bytes.resize(bytes.len() + 9000, b'x');
    }
    bytes
}

/// Sends `bytes` up to `at`, and then ends the stream in one of several ways.
async fn misbehave(
    connection: RawConnection,
    bytes: Vec<u8>,
    at: usize,
    how: usize,
    one_way: bool,
) {
    if one_way {
        let mut send = soon(connection.open_uni()).await.unwrap();
        let _ = soon(send.write_all(&bytes[..at])).await;
        return match how {
            0 => drop(send.reset(CANCELLED)),
            _ => drop(send.finish()),
        };
    }
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let _ = soon(send.write_all(&bytes[..at])).await;
    for _ in 0..at % 4 {
        tokio::task::yield_now().await;
    }
    if matches!(how, 0 | 1) {
        let _ = send.reset(CANCELLED);
    }
    if how == 2 {
        let _ = send.finish();
    }
    if matches!(how, 1..=3) {
        let _ = recv.stop(CANCELLED);
        return;
    }
    if how > 3 {
        let _ = soon(send.write_all(&bytes[at..])).await;
        let _ = send.finish();
    }
    // The server ends the stream in any case.
    let _ = soon(recv.read_to_end(10_000_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_after_garbage_and_resets_serves_and_drains() {
    let limits = Limits {
        max_request_bytes: 4000,
        max_response_bytes: 5000,
        max_batch_entries: 10,
        max_concurrent_calls_per_connection: 8,
        // This number of resets would close the connection.
        max_net_cancellations: usize::MAX,
        ..Limits::default()
    };
    let server = TestServer::start(TargetServer::new(Echo), limits);
    let connection = RawClient::connect(&server).await;
    let mut rng = Rng::with_seed(0x123_4567);
    let mut storm = JoinSet::new();
    for _ in 0..2000 {
        let bytes = messages(&mut rng);
        let (at, how) = (rng.usize(..bytes.len() + 1), rng.usize(..6));
        let one_way = rng.usize(..5) == 0;
        storm.spawn(misbehave(connection.clone(), bytes, at, how, one_way));
        while storm.len() > 60 {
            storm.join_next().await.unwrap().unwrap();
        }
    }
    soon(storm.join_all()).await;
    let replies = connection.exchange(call_line(1, "echo", "[1]")).await;
    assert_eq!(replies, [result(1, 1)]);
    let drained = soon(server.handle.shutdown(Duration::from_secs(5))).await;
    assert!(drained, "something still runs");
}

#[rpc]
trait Workload {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    async fn hang(&self);
    async fn panic(&self);
}

/// The number of running calls, now and at most.
#[derive(Clone, Default)]
struct Handlers(Arc<(AtomicUsize, AtomicUsize)>);

impl Handlers {
    fn hanging(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

struct Hanging<'w>(&'w Handlers);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Workload for Handlers {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn hang(&self) {
        let hanging = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(hanging, Ordering::SeqCst);
        let _hanging = Hanging(self);
        std::future::pending().await
    }

    async fn panic(&self) {
        panic!("on purpose")
    }
}

/// A server with an honest client. Both run on this thread, so that their memory is counted.
struct Measured {
    runtime: Runtime,
    handlers: Handlers,
    server: TestServer,
    other_client: RawConnection,
}

impl Measured {
    fn start(limits: Limits) -> Self {
        let runtime = current_thread();
        let handlers = Handlers::default();
        let (server, other_client) = runtime.block_on(async {
            let server = TestServer::start(WorkloadServer::new(handlers.clone()), limits);
            let other_client = RawClient::connect(&server).await;
            (server, other_client)
        });
        Self {
            runtime,
            handlers,
            server,
            other_client,
        }
    }

    /// Returns the memory that `attack` took at most, and the memory that it left allocated.
    fn count(&self, attack: impl AsyncFnOnce()) -> (i64, i64) {
        let counted = allocation_counter::measure(|| self.runtime.block_on(attack()));
        (counted.bytes_max as i64, counted.bytes_current)
    }

    fn attacker(&self) -> RawConnection {
        self.runtime.block_on(RawClient::connect(&self.server))
    }

    async fn other_client_is_served(&self) {
        is_served(&self.other_client).await;
    }

    async fn hang(&self, calls: usize) {
        eventually(|| self.handlers.hanging() == calls).await;
    }
}

async fn is_served(connection: &RawConnection) {
    let replies = connection.exchange(call_line(1, "add", "[1,2]")).await;
    assert_eq!(replies, [result(1, 3)]);
}

#[test]
fn deeply_nested_json_takes_no_memory() {
    let measured = Measured::start(Limits::default());
    let attacker = measured.attacker();
    let open = "[".repeat(100_000);
    let messages = [
        format!("{open}\n"),
        format!("{}\n", "{\"a\":".repeat(20_000)),
        call_line(1, "add", &open),
        call_line(1, "add", &format!("[{open}{}]", "]".repeat(100_000))),
    ];
    let attack = async || {
        for message in &messages {
            let replies = attacker.exchange(&message).await;
            assert_eq!(replies[0]["error"]["code"], -32700);
        }
        measured.other_client_is_served().await;
    };
    let ten_times = async || {
        for _ in 0..10 {
            attack().await;
        }
    };
    measured.count(ten_times);
    let (_, left) = measured.count(ten_times);
    // Less than a tenth of the bytes that were sent.
    assert!(left < 512 << 10, "{left} bytes");
}

#[test]
fn calls_that_never_return_are_bounded_by_the_limit_of_the_connection() {
    let measured = Measured::start(Limits::default());
    let attacker = measured.attacker();
    let calls = call_line(1, "hang", "[]").repeat(125);
    let attack = async || {
        let mut streams = Vec::new();
        for _ in 0..80 {
            streams.push(attacker.send(&calls).await);
        }
        measured.hang(128).await;
        for _ in 0..10 {
            measured.other_client_is_served().await;
        }
        drop(streams);
        measured.hang(0).await;
        measured.other_client_is_served().await;
    };
    measured.count(attack);
    let (most, left) = measured.count(attack);
    assert_eq!(measured.handlers.most(), 128);
    assert!(most < 16 << 20, "{most} bytes");
    assert!(left < 1 << 20, "{left} bytes");
}

fn streams_that_are_opened_and_reset(streams: usize) {
    let measured = Measured::start(Limits {
        max_net_cancellations: usize::MAX,
        ..Limits::default()
    });
    let attacker = measured.attacker();
    let call = call_line(1, "hang", "[]");
    let attack = async |streams: usize| {
        for number in 0..streams {
            let mut stream = attacker.send(&call).await;
            if number % 3 == 0 {
                tokio::task::yield_now().await;
            }
            stream.reset(CANCELLED);
            if number % 1000 == 0 {
                measured.other_client_is_served().await;
            }
        }
        measured.hang(0).await;
    };
    measured.count(async || attack(2000).await);
    let (_, left) = measured.count(async || attack(streams).await);
    assert!(
        measured.handlers.most() <= 128,
        "{} calls",
        measured.handlers.most()
    );
    assert!(left < 1 << 20, "{left} bytes");
}

#[test]
fn streams_opened_and_reset_leave_no_memory() {
    streams_that_are_opened_and_reset(5000);
}

/// Takes minutes: `cargo test --release -p tests --test security million -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn million_streams_opened_and_reset_leave_no_memory() {
    streams_that_are_opened_and_reset(1_000_000);
}

#[test]
fn client_that_reads_nothing_takes_bounded_memory() {
    let measured = Measured::start(Limits::default());
    let connecting = RawClient::connect_with_small_window(&measured.server);
    let attacker = measured.runtime.block_on(connecting);
    let call = call_line(1, "blob", "[1000000]");
    let attack = async || {
        let mut streams = Vec::new();
        for _ in 0..80 {
            streams.push(attacker.send(&call).await);
            measured.other_client_is_served().await;
        }
        drop(streams);
        // The client is served again once it has no unread responses.
        is_served(&attacker).await;
        measured.other_client_is_served().await;
    };
    measured.count(attack);
    let (most, left) = measured.count(attack);
    assert!(most > 8 << 20, "{most} bytes: nothing was held back");
    assert!(most < 24 << 20, "{most} bytes");
    assert!(left < 1 << 20, "{left} bytes");
}

#[test]
fn panicking_handlers_leave_no_memory_and_other_clients_are_served() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&"on purpose") {
            usual(panic);
        }
    }));
    let measured = Measured::start(Limits::default());
    let attacker = measured.attacker();
    let calls = call_line(1, "panic", "[]").repeat(100);
    let attack = async |rounds: usize| {
        for _ in 0..rounds {
            let replies = attacker.exchange(&calls).await;
            assert_eq!(replies.len(), 100);
            for reply in replies {
                assert_eq!(reply["error"]["code"], -32603);
            }
            measured.other_client_is_served().await;
        }
    };
    measured.count(async || attack(5).await);
    let (_, left) = measured.count(async || attack(100).await);
    assert!(left < 100_000, "{left} bytes");
}
