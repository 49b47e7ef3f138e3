//! The memory that a server holds for its peers. The clients are raw.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, stream};
use rpc_runtime::{Limits, rpc};
use serde_json::{Value, json};
use tests::message::{call, call_line, line, notification, result};
use tests::peer::{CANCELLED, RawClient, RawConnection, RawStream, TIMED_OUT};
use tests::support::{TestServer, eventually, soon};
use tokio::sync::Semaphore;

#[rpc]
trait Store {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    /// Returns the length of the text once the test opens the gate.
    async fn wait(&self, text: &str) -> usize;
    /// Returns a text of this size once the test opens the gate.
    async fn late_blob(&self, size: usize) -> String;
    /// Sends an item of this size once the test opens the gate.
    fn late_blobs(&self, size: usize) -> impl Stream<Item = String>;
    /// Returns the number of numbers once the test opens the gate. Owns its argument.
    async fn count(&self, numbers: Vec<u64>) -> usize;
    /// Does the same on a thread of the blocking pool.
    #[rpc(blocking)]
    fn count_on_thread(&self, numbers: Vec<u64>) -> usize;
    fn pending(&self) -> impl Stream<Item = u8>;
}

#[derive(Clone)]
struct Handlers {
    /// The number of calls that wait or have waited.
    started: Arc<AtomicUsize>,
    /// The number of calls of `late_blob` that are past the gate.
    returned: Arc<AtomicUsize>,
    added: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Handlers {
    fn returned(&self) -> usize {
        self.returned.load(Ordering::SeqCst)
    }

    async fn pass(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
    }
}

impl Store for Handlers {
    async fn add(&self, a: i64, b: i64) -> i64 {
        self.added.fetch_add(1, Ordering::SeqCst);
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn wait(&self, text: &str) -> usize {
        self.pass().await;
        text.len()
    }

    async fn late_blob(&self, size: usize) -> String {
        self.pass().await;
        self.returned.fetch_add(1, Ordering::SeqCst);
        "x".repeat(size)
    }

    fn late_blobs(&self, size: usize) -> impl Stream<Item = String> {
        stream::once(self.late_blob(size))
    }

    async fn count(&self, numbers: Vec<u64>) -> usize {
        self.pass().await;
        numbers.len()
    }

    fn count_on_thread(&self, numbers: Vec<u64>) -> usize {
        tokio::runtime::Handle::current().block_on(self.pass());
        numbers.len()
    }

    fn pending(&self) -> impl Stream<Item = u8> {
        stream::pending()
    }
}

const MIB: usize = 1 << 20;

/// The budget of a connection in these tests.
const BUDGET: usize = 4 * MIB;

/// The bytes beyond the budget that a connection may hold: those of one read, and one message that is parsed.
const OVERSHOOT: usize = 16 * MIB;

struct Guarded {
    server: TestServer,
    handlers: Handlers,
}

impl Guarded {
    fn start(limits: Limits) -> Self {
        Self::start_with_budget(BUDGET, limits)
    }

    fn start_with_budget(budget: usize, limits: Limits) -> Self {
        let handlers = Handlers {
            started: Arc::default(),
            returned: Arc::default(),
            added: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let limits = Limits {
            max_memory_bytes_per_connection: budget,
            ..limits
        };
        let server = TestServer::start(StoreServer::new(handlers.clone()), limits);
        Self { server, handlers }
    }

    async fn connect(&self) -> RawConnection {
        RawClient::new(&self.server).dial().await
    }

    /// Makes calls that wait, with a megabyte each, until the connection holds as much as it may. Returns their streams.
    async fn use_up_budget(&self, connection: &RawConnection) -> Vec<RawStream> {
        let waiting = call_line(7, "wait", &format!("[\"{}\"]", "x".repeat(1_000_000)));
        let mut streams = Vec::new();
        while self.held() < BUDGET {
            streams.push(connection.send(&waiting).await);
            eventually(|| self.started() == streams.len() || self.held() >= BUDGET).await;
        }
        streams
    }

    fn held(&self) -> usize {
        self.server.handle.memory_held()
    }

    fn started(&self) -> usize {
        self.handlers.started.load(Ordering::SeqCst)
    }

    fn added(&self) -> usize {
        self.handlers.added.load(Ordering::SeqCst)
    }

    async fn adds(&self, neighbour: &RawConnection) {
        let replies = neighbour.exchange(line(call(1, "add", [1, 2]))).await;
        assert_eq!(replies, [result(1, 3)]);
    }
}

#[tokio::test]
async fn unfinished_messages_past_the_budget_are_answered_and_their_memory_is_freed() {
    let guarded = Guarded::start(Limits::default());
    let (hostile, neighbour) = (guarded.connect().await, guarded.connect().await);
    let unfinished = &call_line(7, "wait", &format!("[\"{}\"]", "x".repeat(900_000)));
    let mut streams = Vec::new();
    for _ in 0..8 {
        let stream: RawStream = hostile.send(&unfinished[..unfinished.len() - 3]).await;
        streams.push(stream);
    }
    eventually(|| guarded.held() >= BUDGET).await;
    guarded.adds(&neighbour).await;
    let mut rejected = 0;
    for mut stream in streams {
        stream.write("]}\n").await;
        stream.finish();
        guarded.handlers.gate.add_permits(1);
        let reply = stream.reply().await;
        assert_eq!(reply["id"], 7, "{reply}");
        match reply["error"]["code"].as_i64() {
            Some(code) => {
                assert_eq!(code, -32013, "{reply}");
                rejected += 1;
            }
            None => assert_eq!(reply["result"], 900_000),
        }
        assert!(guarded.held() < BUDGET + OVERSHOOT, "{}", guarded.held());
    }
    assert!((1..8).contains(&rejected), "{rejected} were rejected");
    drop(hostile);
    eventually(|| guarded.held() < MIB).await;
}

#[tokio::test]
async fn connection_at_its_budget_is_not_read_until_its_calls_end() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let running = guarded.use_up_budget(&connection).await;
    assert!((3..6).contains(&running.len()), "{} calls", running.len());
    // The server does not read this call, because the connection is at its budget. It serves another connection.
    let mut waiting_call = connection.send(call_line(1, "add", "[1,2]")).await;
    let neighbour = guarded.connect().await;
    for _ in 0..100 {
        guarded.adds(&neighbour).await;
    }
    assert_eq!(guarded.added(), 100);
    assert!(guarded.held() < BUDGET + 2 * MIB, "{}", guarded.held());
    guarded.handlers.gate.add_permits(running.len());
    for mut stream in running {
        assert_eq!(stream.reply().await, result(7, 1_000_000));
    }
    assert_eq!(waiting_call.reply().await, result(1, 3));
}

#[tokio::test]
async fn streams_that_have_ended_are_not_counted() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    // With so many replies, the buffers of the stream are large enough to be counted.
    let calls: String = (0..100).map(|id| call_line(id, "blob", "[300]")).collect();
    for _ in 0..300 {
        assert_eq!(connection.exchange(&calls).await.len(), 100);
        assert!(guarded.held() < BUDGET / 2, "{}", guarded.held());
    }
}

/// Returns the number of the runtime's tasks.
fn tasks() -> usize {
    let runtime = tokio::runtime::Handle::current();
    runtime.metrics().num_alive_tasks()
}

#[tokio::test]
async fn workers_that_wait_for_memory_end_with_their_connection() {
    let guarded = Guarded::start(Limits::default());
    let neighbour = guarded.connect().await;
    guarded.adds(&neighbour).await;
    let before = tasks();
    let connection = guarded.connect().await;
    let mut streams = guarded.use_up_budget(&connection).await;
    for _ in 0..20 {
        let mut stream = connection.open().await;
        // These are more chunks than a worker takes before it processes them.
        for _ in 0..40 {
            stream.write(call_line(1, "add", "[1,2]")).await;
        }
        stream.finish();
        streams.push(stream);
    }
    guarded.adds(&neighbour).await;
    connection.close(0u32.into(), b"");
    drop((streams, connection));
    eventually(|| tasks() <= before && guarded.held() < MIB).await;
}

#[tokio::test]
async fn workers_that_wait_for_a_permit_end_with_their_connection() {
    let guarded = Guarded::start(Limits {
        max_concurrent_calls: 1,
        max_percent_per_address: 100,
        max_percent_per_network: 100,
        ..Limits::default()
    });
    let busy = guarded.connect().await;
    let _running = busy.send(call_line(1, "wait", "[\"abc\"]")).await;
    eventually(|| guarded.started() == 1).await;
    busy.wait_until_processed().await;
    let before = tasks();
    let connection = guarded.connect().await;
    let waiting = line(notification("wait", ["abc"]));
    let batch = line(json!([notification("wait", ["abc"])]));
    for _ in 0..20 {
        // The server has received the end of these streams while their messages wait.
        connection.send_uni(&waiting).await;
        connection.send_uni(&batch).await;
    }
    connection.wait_until_processed().await;
    eventually(|| tasks() >= before + 40).await;
    connection.close(0u32.into(), b"");
    drop(connection);
    eventually(|| tasks() <= before).await;
    assert_eq!(guarded.started(), 1);
}

#[tokio::test]
async fn write_of_a_reply_ends_when_the_client_resets_the_stream() {
    let guarded = Guarded::start(Limits {
        write_timeout: Duration::from_secs(3600),
        ..Limits::default()
    });
    let connection = RawClient::connect_with_small_window(&guarded.server).await;
    connection.wait_until_processed().await;
    let before = tasks();
    let mut streams = Vec::new();
    for started in 1..=4 {
        streams.push(
            connection
                .send(call_line(1, "late_blob", "[3000000]"))
                .await,
        );
        eventually(|| guarded.started() == started).await;
        guarded.handlers.gate.add_permits(1);
        // The reply is being written, by a worker that does not hold the receiver.
        assert_eq!(streams[started - 1].read_byte().await, b'{');
        streams[started - 1].reset(CANCELLED);
        eventually(|| guarded.held() < MIB).await;
    }
    // What is not counted is not held, either.
    eventually(|| tasks() <= before).await;
    for stream in &mut streams {
        assert_eq!(soon(stream.reset_code()).await, Some(CANCELLED));
    }
}

#[tokio::test]
async fn replies_of_a_batch_are_counted_while_its_last_entry_waits() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let mut entries: Vec<_> = (0..5).map(|id| call(id, "blob", [300_000])).collect();
    entries.push(call(5, "wait", ["abc"]));
    let batch = line(Value::from(entries));
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(connection.send(&batch).await);
        let sent = streams.len();
        eventually(|| guarded.started() == sent || guarded.held() >= BUDGET).await;
    }
    // The others are not read.
    let started = guarded.started();
    assert!((1..4).contains(&started), "{started} batches");
    drop((streams, connection));
    eventually(|| guarded.held() < MIB).await;
}

/// The most that may be held for replies of 200 kB with a budget of 1 MiB: half of the budget past it, and the last reply.
const MOST_REPLIES: usize = MIB + MIB / 2 + (256 << 10);

/// Receives the first line of each stream, whichever arrives first.
async fn replies(streams: &mut [RawStream]) -> Vec<Value> {
    soon(join_all(streams.iter_mut().map(RawStream::reply))).await
}

#[tokio::test]
async fn replies_past_the_budget_of_a_client_that_does_not_read_are_replaced_by_errors() {
    let guarded = Guarded::start_with_budget(MIB, Limits::default());
    let connection = RawClient::connect_with_window(&guarded.server, 64 << 10).await;
    let mut streams = Vec::new();
    for id in 0..24 {
        let blob = call_line(id, "late_blob", "[200000]");
        streams.push(connection.send(blob).await);
        eventually(|| guarded.started() == streams.len()).await;
    }
    guarded.handlers.gate.add_permits(24);
    eventually(|| guarded.handlers.returned() == 24).await;
    assert!(guarded.held() > MIB, "{}", guarded.held());
    assert!(guarded.held() < MOST_REPLIES, "{}", guarded.held());
    let replies = replies(&mut streams).await;
    let codes: Vec<_> = replies
        .iter()
        .map(|reply| reply["error"]["code"].as_i64().unwrap_or(0))
        .collect();
    let dropped = codes.iter().filter(|code| **code == -32008).count();
    assert!((16..22).contains(&dropped), "{codes:?}");
    assert!(codes.iter().all(|code| [0, -32008].contains(code)));
    // The client has read its replies, so others have room again.
    guarded.handlers.gate.add_permits(1);
    let mut stream = connection
        .send(call_line(99, "late_blob", "[200000]"))
        .await;
    assert!(soon(stream.reply()).await["result"].is_string());
}

#[tokio::test]
async fn replies_of_a_batch_past_the_budget_are_replaced_by_errors() {
    let guarded = Guarded::start_with_budget(MIB, Limits::default());
    let connection = guarded.connect().await;
    let entries = (0..100).map(|id| call(id, "blob", [15_000]));
    let mut stream = connection.send(line(entries.collect::<Value>())).await;
    let replies = soon(stream.reply()).await;
    let replies = replies.as_array().unwrap();
    assert_eq!(replies.len(), 100);
    let codes = replies
        .iter()
        .filter_map(|reply| reply["error"]["code"].as_i64());
    let dropped = codes.inspect(|code| assert_eq!(*code, -32011)).count();
    // A hundred replies have 1.5 MB. The buffer that holds them doubles, up to 1 MiB, and what it takes counts.
    assert!((25..75).contains(&dropped), "{dropped} entries");
}

#[tokio::test]
async fn items_past_the_budget_of_a_client_that_does_not_read_end_their_calls() {
    let guarded = Guarded::start_with_budget(MIB, Limits::default());
    let connection = RawClient::connect_with_window(&guarded.server, 64 << 10).await;
    let mut streams = Vec::new();
    for id in 0..24 {
        let blobs = call_line(id, "late_blobs", "[200000]");
        streams.push(connection.send(blobs).await);
        eventually(|| guarded.started() == streams.len()).await;
    }
    guarded.handlers.gate.add_permits(24);
    eventually(|| guarded.handlers.returned() == 24).await;
    // An item is held by the handler's side and by the stream.
    assert!(
        guarded.held() < MOST_REPLIES + (256 << 10),
        "{}",
        guarded.held()
    );
    let mut dropped = 0;
    for line in replies(&mut streams).await {
        if line["error"]["code"] == -32008 {
            dropped += 1;
        } else {
            assert_eq!(line["method"], "rpc.item");
        }
    }
    assert!((16..24).contains(&dropped), "{dropped}");
}

#[tokio::test]
async fn copies_of_a_long_id_and_of_metadata_are_counted_while_the_handler_waits() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let long = "x".repeat(300_000);
    let mut message = call(0, "wait", ["abc"]);
    message["id"] = json!(long);
    message["meta"] = json!({ "name": long });
    let mut stream = connection.send(line(message)).await;
    eventually(|| guarded.started() == 1).await;
    // The message, two copies of the id, and one of the metadata.
    eventually(|| guarded.held() >= 1_500_000).await;
    guarded.handlers.gate.add_permits(1);
    assert_eq!(stream.reply().await["result"], 3);
}

#[tokio::test]
async fn parameters_on_the_thread_of_a_cancelled_call_are_counted_until_it_has_finished() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let zeros = format!("[{}0]", "0,".repeat(20_000));
    let message = call_line(7, "count_on_thread", &format!("[{zeros}]"));
    let mut calls = 0;
    while guarded.held() < BUDGET && calls < 30 {
        let mut stream = connection.send(&message).await;
        calls += 1;
        eventually(|| guarded.started() == calls).await;
        stream.reset(CANCELLED);
        assert_eq!(soon(stream.reset_code()).await, Some(CANCELLED));
    }
    assert!(calls < 20, "{calls} threads hold {} bytes", guarded.held());
    guarded.handlers.gate.add_permits(calls);
    eventually(|| guarded.held() < MIB).await;
}

#[tokio::test]
async fn large_messages_that_are_complete_at_once_are_parsed_within_the_budget() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    // Each parsed message takes three quarters of the budget.
    let zeros = format!("[{}0]", "0,".repeat(130_000));
    let message = call_line(7, "count", &format!("[{zeros}]"));
    let (most, last) = message.split_at(message.len() - 1);
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(connection.send(most).await);
    }
    connection.wait_until_processed().await;
    for stream in &mut streams {
        stream.write(last).await;
    }
    eventually(|| guarded.started() > 0).await;
    for done in 0..streams.len() {
        eventually(|| guarded.started() > done).await;
        assert!(guarded.held() < 2 * BUDGET + 2 * MIB, "{}", guarded.held());
        guarded.handlers.gate.add_permits(1);
    }
    for stream in &mut streams {
        assert_eq!(stream.reply().await, result(7, 130_001));
    }
}

#[tokio::test]
async fn unknown_members_of_a_request_are_not_held_while_the_handler_waits() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let zeros = format!("[{}0]", "0,".repeat(400_000));
    let message = |params: &str| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"#;
        format!("{head}\"wait\",\"params\":{params},\"ignored\":{zeros}}}\n")
    };
    let mut stream = connection.send(message("[\"abc\"]")).await;
    eventually(|| guarded.started() == 1).await;
    // The message itself is held, because an argument borrows from it.
    assert!(guarded.held() < 2 * MIB, "{}", guarded.held());
    guarded.handlers.gate.add_permits(1);
    assert_eq!(stream.reply().await, result(1, 3));
    // Zeros in parameters are held.
    let dense = call_line(2, "count", &format!("[{zeros}]"));
    stream.write(dense).await;
    eventually(|| guarded.started() == 2).await;
    assert!(guarded.held() > 8 * MIB, "{}", guarded.held());
    guarded.handlers.gate.add_permits(1);
    assert_eq!(stream.reply().await, result(2, 400_001));
    eventually(|| guarded.held() < MIB).await;
}

#[tokio::test]
async fn replies_behind_items_that_are_not_read_end_their_stream_in_time() {
    let guarded = Guarded::start(Limits {
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    });
    let connection = RawClient::connect_with_small_window(&guarded.server).await;
    let mut stream = connection.send(call_line(1, "pending", "[]")).await;
    for id in 2..40 {
        stream.write(call_line(id, "blob", "[200000]")).await;
    }
    assert_eq!(soon(stream.reset_code()).await, Some(TIMED_OUT));
    assert!(guarded.held() < BUDGET + OVERSHOOT, "{}", guarded.held());
    eventually(|| guarded.held() < MIB).await;
}

/// Moves the clock of the server, which runs on the same thread, forward.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn deadline_of_a_batch_entry_counts_from_the_receipt_of_the_batch() {
    let guarded = Guarded::start(Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    });
    let connection = guarded.connect().await;
    let late = |id, method: &str, params: Value| {
        let mut call = call(id, method, params);
        call["timeout"] = json!(50);
        call
    };
    let batch = json!([call(1, "wait", ["abc"]), late(2, "add", json!([1, 2]))]);
    let mut stream = connection.send(line(batch)).await;
    eventually(|| guarded.started() == 1).await;
    // The first entry holds the only permit until the deadline of the second has passed.
    pass(Duration::from_millis(100)).await;
    guarded.handlers.gate.add_permits(1);
    let replies = stream.reply().await;
    assert_eq!(replies[0], result(1, 3));
    assert_eq!(replies[1]["error"]["code"], -32002, "{replies}");
    assert_eq!(guarded.added(), 0, "the late entry was executed");
}

#[tokio::test]
async fn large_message_waits_for_a_permit_unparsed_and_its_deadline_counts_from_receipt() {
    let guarded = Guarded::start(Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    });
    let connection = guarded.connect().await;
    let mut first = connection.send(call_line(1, "wait", "[\"abc\"]")).await;
    eventually(|| guarded.started() == 1).await;
    let zeros = format!("[{}0]", "0,".repeat(400_000));
    let head = r#"{"jsonrpc":"2.0","id":2,"method":"count","timeout":50"#;
    let mut second = connection
        .send(format!("{head},\"params\":[{zeros}]}}\n"))
        .await;
    let mut third = connection
        .send(call_line(3, "count", &format!("[{zeros}]")))
        .await;
    eventually(|| guarded.held() > MIB).await;
    pass(Duration::from_millis(100)).await;
    assert!(guarded.held() < BUDGET, "{}", guarded.held());
    guarded.handlers.gate.add_permits(2);
    assert_eq!(first.reply().await, result(1, 3));
    let reply = second.reply().await;
    assert_eq!(reply["error"]["code"], -32002, "{reply}");
    assert_eq!(third.reply().await, result(3, 400_001));
}

#[tokio::test]
async fn buffers_of_unused_streams_are_released_while_another_stream_is_busy() {
    let guarded = Guarded::start(Limits::default());
    let connection = guarded.connect().await;
    let waiting: String = (0..20)
        .map(|id| call_line(id, "wait", &format!("[\"{}\"]", "x".repeat(40_000))))
        .collect();
    let mut used = connection.send(waiting).await;
    eventually(|| guarded.started() == 20).await;
    guarded.handlers.gate.add_permits(20);
    for _ in 0..20 {
        assert_eq!(used.reply().await["result"], 40_000);
    }
    let before = guarded.held();
    let mut busy = connection.open().await;
    soon(async {
        while guarded.held() > before / 2 {
            busy.write(line(notification("add", [1, 2]))).await;
            busy.write(line(call(1, "add", [1, 2]))).await;
            assert_eq!(busy.reply().await, result(1, 3));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // The stream still serves calls.
    used.write(call_line(1, "add", "[1,2]")).await;
    assert_eq!(used.reply().await, result(1, 3));
}
