//! Streams of items as PROTOCOL.md describes them. One end is always a raw peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use quinn::ReadError;
use rpc_runtime::{CallError, ErrorObject, Execution, Limits, RawService, rpc};
use serde_json::{Value, json};
use tests::message::{self, line};
use tests::peer::{CANCELLED, PROTOCOL, RawClient, RawConnection, RawServer, RawStream, TIMED_OUT};
use tests::support::{TestServer, soon};
use tokio::sync::Notify;

#[rpc]
trait Desk {
    fn count(&self, word: &str, to: u64) -> impl Stream<Item = String>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String>;
    fn fail(&self, after: u64) -> impl Stream<Item = Result<u64, ErrorObject>>;
    fn panic(&self, after: u64) -> impl Stream<Item = u64>;
    /// Sends an item that cannot be encoded, after this number of other items.
    fn unwritable(&self, after: u64) -> impl Stream<Item = BTreeMap<Pair, u8>>;
    fn blobs(&self, sizes: Vec<usize>) -> impl Stream<Item = String>;
    /// Returns the sum of this number of items, and does not poll for more.
    async fn some(&self, count: usize, items: impl Stream<Item = u64>) -> u64;
    /// Sends items without end.
    fn numbers(&self) -> impl Stream<Item = u64>;
    /// As `numbers`, but idempotent.
    #[rpc(idempotent)]
    fn readings(&self) -> impl Stream<Item = u64>;
    /// Sends nothing and does not end.
    fn pending(&self) -> impl Stream<Item = u64>;
    async fn add(&self, a: u64, b: u64) -> u64;
    /// Returns more than the window of an idle reader.
    async fn late(&self) -> String;
}

/// A type that cannot be a key of an object.
type Pair = (u8, u8);

#[derive(Clone, Default)]
struct Clerk {
    /// The number of handlers that have read their items to the end.
    ends: Arc<AtomicUsize>,
    started: Arc<Notify>,
    /// Notified when a handler or its stream was dropped.
    dropped: Arc<Notify>,
}

impl Clerk {
    fn watched(&self) -> Dropped {
        self.started.notify_one();
        Dropped(Arc::clone(&self.dropped))
    }
}

struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Desk for Clerk {
    fn count(&self, word: &str, to: u64) -> impl Stream<Item = String> {
        stream::iter(1..=to).map(move |number| format!("{word} {number}"))
    }

    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let _dropped = self.watched();
        let sum = items.fold(0, async |sum, item| sum + item).await;
        self.ends.fetch_add(1, Ordering::SeqCst);
        sum
    }

    fn echo(&self, prefix: &str, items: impl Stream<Item = String>) -> impl Stream<Item = String> {
        items.map(move |item| format!("{prefix}{item}"))
    }

    fn fail(&self, after: u64) -> impl Stream<Item = Result<u64, ErrorObject>> {
        let failure = ErrorObject::new(7, "no more").with_data(&after);
        stream::iter(0..after)
            .map(Ok)
            .chain(stream::iter([Err(failure)]))
    }

    fn panic(&self, after: u64) -> impl Stream<Item = u64> {
        stream::iter(0..=after).map(move |number| match number < after {
            true => number,
            false => panic!("on purpose"),
        })
    }

    fn unwritable(&self, after: u64) -> impl Stream<Item = BTreeMap<Pair, u8>> {
        let fine = stream::iter(0..after).map(|_| BTreeMap::new());
        fine.chain(stream::iter([BTreeMap::from([((1, 2), 3)])]))
    }

    fn blobs(&self, sizes: Vec<usize>) -> impl Stream<Item = String> {
        stream::iter(sizes).map(|size| "x".repeat(size))
    }

    async fn some(&self, count: usize, items: impl Stream<Item = u64> + Send) -> u64 {
        items
            .take(count)
            .fold(0, async |sum, item| sum + item)
            .await
    }

    fn numbers(&self) -> impl Stream<Item = u64> {
        let dropped = self.watched();
        stream::iter(0..).inspect(move |_| {
            let _ = &dropped;
        })
    }

    fn readings(&self) -> impl Stream<Item = u64> {
        self.numbers()
    }

    fn pending(&self) -> impl Stream<Item = u64> {
        let dropped = self.watched();
        stream::pending().inspect(move |_: &u64| {
            let _ = &dropped;
        })
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }

    async fn late(&self) -> String {
        "x".repeat(10_000)
    }
}

fn serve(limits: Limits) -> (TestServer, Clerk) {
    let clerk = Clerk::default();
    (
        TestServer::start(DeskServer::new(clerk.clone()), limits),
        clerk,
    )
}

fn desk() -> (TestServer, Clerk) {
    serve(Limits::default())
}

fn call(id: impl Into<Value>, method: &str, params: Value) -> String {
    line(message::call(id, method, params))
}

fn notification(method: &str, params: Value) -> String {
    line(message::notification(method, params))
}

fn item(id: impl Into<Value>, item: impl Into<Value>) -> String {
    line(message::item(id, item))
}

fn end(id: impl Into<Value>) -> String {
    line(message::end(id))
}

/// Abbreviates a line: `item 1 2`, `result 1 null`, `error 1 -32600`.
fn word(line: &Value) -> String {
    assert_eq!(line["jsonrpc"], "2.0", "{line}");
    if line["method"] == "rpc.item" {
        assert!(line.get("id").is_none(), "{line}");
        return format!("item {} {}", line["params"][0], line["params"][1]);
    }
    match line.get("error") {
        Some(error) => format!("error {} {}", line["id"], error["code"]),
        None => format!("result {} {}", line["id"], line["result"]),
    }
}

fn words(lines: &[Value]) -> Vec<String> {
    lines.iter().map(word).collect()
}

/// Sends lines on a stream, ends it, and returns the abbreviated lines that come back.
async fn said(connection: &RawConnection, sent: &str) -> Vec<String> {
    words(&connection.exchange(sent).await)
}

/// Reads and abbreviates the next line.
async fn next(stream: &mut RawStream) -> String {
    word(&stream.reply().await)
}

mod transcripts {
    use super::*;

    #[tokio::test]
    async fn response_stream_is_sent_as_documented() {
        let (server, _) = desk();
        let sent =
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"count\",\"params\":[\"n\\u00b0\",2]}\n";
        let mut stream = RawClient::connect(&server).await.send(sent).await;
        stream.finish();
        let came = soon(stream.recv.read_to_end(usize::MAX)).await.unwrap();
        let expected = r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,"n° 1"]}
{"jsonrpc":"2.0","method":"rpc.item","params":[1,"n° 2"]}
{"jsonrpc":"2.0","id":1,"result":null}
"#;
        assert_eq!(String::from_utf8(came).unwrap(), expected);
    }

    #[tokio::test]
    async fn request_stream_is_read_as_documented() {
        let (server, clerk) = desk();
        let sent = r#"{"jsonrpc":"2.0","id":"up","method":"sum"}
{"jsonrpc":"2.0","method":"rpc.item","params":["up",19]}

{"params":{"item":23,"id":"\u0075p"},"method":"rpc.item","jsonrpc":"2.0"}
{"jsonrpc":"2.0","method":"rpc.end","params":{"id":"up"}}
"#;
        let connection = RawClient::connect(&server).await;
        assert_eq!(said(&connection, sent).await, [r#"result "up" 42"#]);
        // The last line may have no LF.
        assert_eq!(
            said(&connection, sent.trim_end()).await,
            [r#"result "up" 42"#]
        );
        assert_eq!(clerk.ends.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn bidirectional_stream_is_exchanged_as_documented() {
        let (server, _) = desk();
        let connection = RawClient::connect(&server).await;
        let mut stream = connection.send(call(1, "echo", json!(["> "]))).await;
        for turn in ["a", "b", "c"] {
            stream.write(item(1, turn)).await;
            assert_eq!(next(&mut stream).await, format!("item 1 \"> {turn}\""));
        }
        stream.write(end(1)).await;
        stream.finish();
        assert_eq!(next(&mut stream).await, "result 1 null");
        stream.has_ended().await;
    }

    #[tokio::test]
    async fn failed_stream_is_sent_as_documented() {
        let (server, _) = desk();
        let connection = RawClient::connect(&server).await;
        let replies = connection.exchange(call(1, "fail", json!([2]))).await;
        assert_eq!(words(&replies), ["item 1 0", "item 1 1", "error 1 7"]);
        let error = json!({"code": 7, "message": "no more", "data": 2});
        assert_eq!(replies[2]["error"], error);
        let panicked = said(&connection, &call(2, "panic", json!([0]))).await;
        assert_eq!(panicked, ["error 2 -32603"]);
        let unwritable = said(&connection, &call(3, "unwritable", json!([1]))).await;
        assert_eq!(unwritable, ["item 3 {}", "error 3 -32603"]);
    }
}

#[tokio::test]
async fn items_in_packets_of_one_byte_are_read() {
    let (server, _) = desk();
    let connection = RawClient::connect(&server).await;
    let sent = [
        call(1, "echo", json!(["> "])),
        item(1, "ö"),
        item(1, "\""),
        end(1),
    ]
    .concat();
    let bytes = sent.as_bytes().chunks(1);
    let replies = connection.exchange_in_pieces(bytes).await;
    assert_eq!(
        words(&replies),
        [r#"item 1 "> ö""#, r#"item 1 "> \"""#, "result 1 null"]
    );
}

#[tokio::test]
async fn calls_after_the_end_of_a_request_stream_are_served() {
    let (server, _) = desk();
    let connection = RawClient::connect(&server).await;
    let sent = [
        call(1, "add", json!([1, 2])),
        call(2, "sum", json!([])),
        item(2, 3),
        end(2),
        call(3, "add", json!([3, 4])),
        call(4, "sum", json!([])),
        end(4),
    ];
    let mut replies = said(&connection, &sent.concat()).await;
    replies.sort();
    assert_eq!(
        replies,
        ["result 1 3", "result 2 3", "result 3 7", "result 4 0"]
    );
}

#[tokio::test]
async fn request_stream_that_ends_in_any_other_way_is_an_error() {
    let limits = Limits {
        max_request_bytes: 1000,
        ..Limits::default()
    };
    let (server, clerk) = serve(limits);
    let connection = RawClient::connect(&server).await;
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let faults = [
        // The stream ends.
        (String::new(), "error 1 -32600"),
        (item(1, 1), "error 1 -32600"),
        // The stream ends within a line.
        (item(1, 1)[..40].to_owned(), "error 1 -32700"),
        // No item.
        (notification("add", json!([1, 2])), "error 1 -32600"),
        (notification("rpc.cancel", json!([1])), "error 1 -32001"),
        (notification("rpc.cancel", json!([2])), "error 1 -32600"),
        (notification("rpc.item", json!([1])), "error 1 -32600"),
        (
            notification("rpc.item", json!({"item": 1})),
            "error 1 -32600",
        ),
        (notification("rpc.end", json!([])), "error 1 -32600"),
        (item(1, 1).replace("2.0", "1.0"), "error 1 -32600"),
        // A line of another call.
        (item(2, 1), "error 1 -32600"),
        (item("1", 1), "error 1 -32600"),
        (end(2), "error 1 -32600"),
        // Of the wrong type.
        (item(1, "one"), "error 1 -32602"),
        (item(1, -1), "error 1 -32602"),
        (item(1, json!(null)), "error 1 -32602"),
        // No JSON.
        ("what\n".into(), "error 1 -32700"),
        (item(1, 1).replace("]}", "]"), "error 1 -32700"),
        (
            item(1, 1).replace("1]", &format!("{deep}]")),
            "error 1 -32700",
        ),
        // Too large.
        (item(1, "x".repeat(1000)), "error 1 -32007"),
    ];
    for (fault, expected) in faults {
        for before in ["".to_owned(), item(1, 1) + &item(1, 2)] {
            let sent = [call(1, "sum", json!([])), before, fault.clone()].concat();
            assert_eq!(said(&connection, &sent).await, [expected], "{sent}");
        }
    }
    // Another call is served.
    let other = call(2, "add", json!([1, 2]));
    let sent = call(1, "sum", json!([])) + &item(1, 1) + &other;
    let mut lines = said(&connection, &sent).await;
    lines.sort();
    assert_eq!(lines, ["error 1 -32600", "result 2 3"]);
    assert_eq!(clerk.ends.load(Ordering::SeqCst), 0);
    assert_eq!(
        said(&connection, &call(1, "add", json!([1, 2]))).await,
        ["result 1 3"]
    );
}

#[tokio::test]
async fn server_stops_reading_after_an_invalid_item() {
    let (server, _) = desk();
    let sent = [call(1, "sum", json!([])), item(1, "one")].concat();
    let mut stream = RawClient::connect(&server).await.send(&sent).await;
    assert_eq!(next(&mut stream).await, "error 1 -32602");
    assert!(stream.stop_code().await.is_some());
    stream.has_ended().await;
}

#[tokio::test]
async fn streaming_call_in_a_batch_or_without_a_reply_channel_is_rejected() {
    let (server, clerk) = desk();
    let connection = RawClient::connect(&server).await;
    let [first, second] = [call(1, "numbers", json!([])), call(2, "sum", json!([]))];
    let batch = format!("[{},{}]\n", first.trim(), second.trim());
    let refused = connection.exchange(&batch).await;
    let mut refused = words(refused[0].as_array().unwrap());
    refused.sort();
    assert_eq!(refused, ["error 1 -32600", "error 2 -32600"]);

    let sent = [
        notification("sum", json!([])),
        notification("numbers", json!([])),
        call(1, "add", json!([1, 2])),
    ];
    assert_eq!(said(&connection, &sent.concat()).await, ["result 1 3"]);

    let sent = [call(1, "sum", json!([])), item(1, 1), end(1)].concat();
    let one_way = connection.send_uni(&sent).await;
    assert_eq!(soon(one_way.stopped()).await, Ok(None));

    let mut responder = RawService::new(DeskServer::new(clerk.clone()));
    for method in ["sum", "numbers"] {
        let call = call(1, method, json!([]));
        let reply = soon(responder.respond(call.as_bytes())).await;
        assert_eq!(
            word(&serde_json::from_slice(reply).unwrap()),
            "error 1 -32600"
        );
    }
    // No handler was called.
    assert!(futures_util::poll!(std::pin::pin!(clerk.started.notified())).is_pending());
}

#[tokio::test]
async fn rejected_call_takes_no_items() {
    let (server, _) = desk();
    let connection = RawClient::connect(&server).await;
    let sent = [
        call(1, "sum", json!([1])),
        item(1, 1),
        call(2, "absent", json!([])),
        item(2, 1),
        end(2),
        call(3, "add", json!([1, 2])),
    ];
    let replies = said(&connection, &sent.concat()).await;
    assert_eq!(replies, ["error 1 -32602", "error 2 -32601", "result 3 3"]);
}

#[tokio::test]
async fn streaming_call_is_cancelled_by_reset_stop_and_message() {
    let (server, clerk) = desk();
    let connection = RawClient::connect(&server).await;
    // Handlers that send nothing, that send more than is read, and that wait for items.
    for method in ["pending", "numbers", "sum"] {
        for by_reset in [true, false] {
            let mut stream = connection.send(call(1, method, json!([]))).await;
            soon(clerk.started.notified()).await;
            match by_reset {
                true => stream.reset(CANCELLED),
                false => stream.stop(CANCELLED),
            }
            soon(clerk.dropped.notified()).await;
        }
        let mut stream = connection.send(call(1, method, json!([]))).await;
        soon(clerk.started.notified()).await;
        connection.send_uni(line(message::cancel(1))).await;
        soon(clerk.dropped.notified()).await;
        let last = loop {
            let line = next(&mut stream).await;
            if !line.starts_with("item") {
                break line;
            }
        };
        assert_eq!(last, "error 1 -32001");
    }
    assert_eq!(clerk.ends.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn deadline_covers_a_stream_to_its_end() {
    let (server, clerk) = desk();
    let connection = RawClient::connect(&server).await;
    let late = |method: &str| {
        let call = call(1, method, json!([]));
        call.replacen('{', r#"{"timeout":50,"#, 1)
    };
    assert_eq!(
        said(&connection, &late("pending")).await,
        ["error 1 -32002"]
    );
    let sent = [late("sum"), item(1, 1)].concat();
    let mut stream = connection.send(&sent).await;
    assert_eq!(next(&mut stream).await, "error 1 -32002");
    assert_eq!(clerk.ends.load(Ordering::SeqCst), 0);
    let lines = said(&connection, &late("numbers")).await;
    let (last, items) = lines.split_last().unwrap();
    assert_eq!(last, "error 1 -32002");
    assert!(
        items
            .iter()
            .zip(0..)
            .all(|(line, at)| *line == format!("item 1 {at}"))
    );
}

#[tokio::test]
async fn response_before_the_last_item_stops_the_request_stream() {
    let (server, _) = desk();
    let connection = RawClient::connect(&server).await;
    for count in [0, 1, 3] {
        let sent = [
            call(1, "some", json!([count])),
            (0..5).map(|at| item(1, at)).collect(),
        ]
        .concat();
        let mut stream = connection.send(&sent).await;
        let sum = (0..count).sum::<u64>();
        assert_eq!(next(&mut stream).await, format!("result 1 {sum}"));
        assert!(stream.stop_code().await.is_some(), "after {count}");
        stream.has_ended().await;
    }
}

#[tokio::test]
async fn item_at_the_limit_is_sent_and_a_larger_one_ends_the_stream() {
    let limits = Limits {
        max_response_bytes: 10_000,
        ..Limits::default()
    };
    let (server, _) = serve(limits);
    let connection = RawClient::connect(&server).await;
    let around = item(1, "").len() - 1;
    let fits = 10_000 - around;
    let lines = said(&connection, &call(1, "blobs", json!([[1, fits, fits]]))).await;
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3], "result 1 null");
    let lines = said(&connection, &call(1, "blobs", json!([[1, fits + 1, 1]]))).await;
    assert_eq!(lines, [r#"item 1 "x""#, "error 1 -32008"]);
}

#[tokio::test]
async fn unread_stream_of_a_dropped_handler_blocks_no_call() {
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    };
    let (server, clerk) = serve(limits);
    // The window is smaller than the data that the server sends at once.
    let connection = RawClient::connect_with_small_window(&server).await;
    let add = call(1, "add", json!([1, 2]));
    let numbers = call(1, "numbers", json!([]));

    let late = numbers.replacen('{', r#"{"timeout":50,"#, 1);
    let _late = connection.send(&late).await;
    soon(clerk.dropped.notified()).await;
    assert_eq!(said(&connection, &add).await, ["result 1 3"]);

    let mut stream = connection.send(&numbers).await;
    assert_eq!(next(&mut stream).await, "item 1 0");
    stream.reset(CANCELLED);
    soon(clerk.dropped.notified()).await;
    assert_eq!(said(&connection, &add).await, ["result 1 3"]);
    // The reader learns that the stream was reset.
    let ended = loop {
        match stream.read_line().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert_eq!(ended, Err(ReadError::Reset(CANCELLED)));
}

/// The client of a raw server.
mod client {
    use super::*;

    /// A raw server and its client.
    struct Pair {
        server: RawServer,
        client: DeskClient,
        connection: RawConnection,
    }

    impl Pair {
        async fn meet() -> Self {
            Self::granting(100, false).await
        }

        /// Grants this number of concurrent streams.
        async fn granting(streams: u32, reconnect: bool) -> Self {
            let mut transport = quinn::TransportConfig::default();
            transport.max_concurrent_bidi_streams(streams.into());
            let server = RawServer::with(PROTOCOL, transport);
            let (client, connection) = server.meet(server.client().reconnect(reconnect)).await;
            Self {
                server,
                client: DeskClient::new(client),
                connection,
            }
        }

        /// Answers the next call with `bytes`, in which its id stands in place of 0, and then with the end of the stream or a
        /// reset.
        async fn answer(&self, bytes: &str, is_whole: bool) {
            let (mut stream, call) = self.connection.accept_call().await;
            let id = &call["id"];
            let bytes = bytes.replace(r#""id":0"#, &format!(r#""id":{id}"#));
            let bytes = bytes.replace(r#""params":[0"#, &format!(r#""params":[{id}"#));
            stream.write(bytes).await;
            match is_whole {
                true => stream.finish(),
                // The reset may overtake bytes in flight.
                false => stream.reset(CANCELLED),
            }
        }
    }

    fn ended(id: u64) -> String {
        line(message::result(id, Value::Null))
    }

    #[tokio::test]
    async fn incomplete_stream_is_never_taken_for_a_complete_one() {
        let items = item(0, "a") + &item(0, "b");
        let half = &item(0, "c")[..30];
        let wrong = [
            // The stream ends or is reset: at once, between items, within an item.
            (String::new(), 0),
            (items.clone(), 2),
            (items.clone() + half, 2),
            // Invalid lines.
            (items.clone() + "what\n" + &ended(0), 2),
            (items.clone() + "{}\n" + &ended(0), 2),
            (items.clone() + &end(0), 2),
            (
                items.clone() + &call(0, "rpc.item", json!([0, "c"])) + &ended(0),
                2,
            ),
            // An item and a response of another call.
            (items.clone() + &item(1, "c") + &ended(0), 2),
            (items.clone() + &ended(1), 2),
            // An item of another type.
            (items.clone() + &item(0, 1) + &ended(0), 2),
        ];
        for (bytes, count) in wrong {
            for is_whole in [true, false] {
                // The client takes a server that ends a stream so for one that shuts down, hence a server for each
                // case.
                let pair = Pair::meet().await;
                let taking = pair.client.count("a", 3);
                let taking = taking.collect::<Vec<_>>();
                let ((), taken) =
                    soon(async { tokio::join!(pair.answer(&bytes, is_whole), taking) }).await;
                let (last, items) = taken.split_last().expect("an error at least");
                assert!(last.is_err(), "{bytes:?}");
                assert!(items.iter().all(Result::is_ok), "{bytes:?}");
                match is_whole {
                    true => assert_eq!(items.len(), count, "{bytes:?}"),
                    false => assert!(items.len() <= count, "{bytes:?}"),
                }
                if let Err(CallError::Connection { execution, .. }) = last {
                    let may_have = *execution == Execution::MayHaveExecuted;
                    assert_eq!(may_have, !is_whole || count > 0, "{bytes:?}");
                }
            }
        }
        let pair = Pair::meet().await;
        let taking = pair.client.count("a", 2).try_collect::<Vec<_>>();
        // Other notifications do not concern the call.
        let whole = items + &notification("note", json!(["a"])) + &ended(0);
        let (_, taken) = soon(async { tokio::join!(pair.answer(&whole, true), taking) }).await;
        assert_eq!(taken.unwrap(), ["a", "b"]);
    }

    #[tokio::test]
    async fn items_in_pieces_of_one_byte_are_received() {
        let pair = Pair::meet().await;
        let mut taking = pair.client.count("a", 2);
        let answering = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            let id = call["id"].as_u64().unwrap();
            let bytes = item(id, "ö\"") + "\r\n" + &item(id, "") + &ended(id);
            for byte in bytes.bytes() {
                stream.write([byte]).await;
                tokio::task::yield_now().await;
            }
            stream.finish();
            stream.stop_code().await;
        };
        let taking = async {
            let mut taken = Vec::new();
            while let Some(item) = taking.next().await {
                taken.push(item.unwrap());
            }
            taken
        };
        let (_, taken) = soon(async { tokio::join!(answering, taking) }).await;
        assert_eq!(taken, ["ö\"", ""]);
    }

    #[tokio::test]
    async fn request_stream_is_sent_as_documented() {
        let pair = Pair::meet().await;
        let sum = pair.client.sum(stream::iter([19, 23]));
        let answering = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            let id = call["id"].as_u64().unwrap();
            assert_eq!(call["method"], "sum");
            for expected in [
                message::item(id, 19),
                message::item(id, 23),
                message::end(id),
            ] {
                assert_eq!(stream.reply().await, expected);
            }
            stream.has_ended().await;
            stream.write_line(message::result(id, 42)).await;
            stream.finish();
            stream.stop_code().await;
        };
        let ((), sum) = soon(async { tokio::join!(answering, sum) }).await;
        assert_eq!(sum.unwrap(), 42);
    }

    #[tokio::test]
    async fn stopped_or_dropped_request_stream_sends_no_more_items() {
        let pair = Pair::meet().await;
        let endless = || stream::iter(0..);
        // The response arrives while items are sent, and the server stops them.
        let answering = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            stream.stop(0u32.into());
            stream
                .write_line(message::result(call["id"].clone(), 7))
                .await;
            stream.finish();
            stream.stop_code().await;
        };
        let ((), sum) = soon(async { tokio::join!(answering, pair.client.sum(endless())) }).await;
        assert_eq!(sum.unwrap(), 7);
        // A dropped call drops its items, and resets their stream.
        let mut sum = pair.client.sum(endless());
        let (mut stream, _) = tokio::select! {
            sum = &mut sum => panic!("{sum:?}"),
            accepted = pair.connection.accept_call() => accepted,
        };
        drop(sum);
        let reset = soon(async {
            loop {
                match stream.recv.read_chunk(64 << 10, true).await {
                    Ok(Some(_)) => {}
                    other => break other.map(|_| ()),
                }
            }
        });
        assert_eq!(reset.await, Err(ReadError::Reset(CANCELLED)));
    }

    #[tokio::test]
    async fn streaming_calls_past_the_stream_limit_wait() {
        let pair = Pair::granting(1, false).await;
        let calls = (0..10).map(|_| pair.client.count("a", 3).try_collect::<Vec<_>>());
        let calls = futures_util::future::join_all(calls);
        let answering = async {
            for _ in 0..10 {
                let (mut stream, call) = pair.connection.accept_call().await;
                let id = call["id"].as_u64().unwrap();
                stream.has_ended().await;
                stream
                    .write(item(id, "a") + &item(id, "b") + &ended(id))
                    .await;
                stream.finish();
            }
        };
        let (taken, ()) = soon(async { tokio::join!(calls, answering) }).await;
        for taken in taken {
            assert_eq!(taken.unwrap(), ["a", "b"]);
        }
    }

    #[tokio::test]
    async fn rejected_stream_is_retried_unless_it_has_begun() {
        let mut pair = Pair::granting(100, true).await;
        let refusal = line(message::error(0, -32003, "Shutting down"));
        let taking = tokio::spawn(pair.client.count("a", 2).try_collect::<Vec<_>>());
        pair.answer(&refusal, true).await;
        pair.connection = pair.server.accept().await;
        let (mut stream, call) = pair.connection.accept_call().await;
        let id = call["id"].as_u64().unwrap();
        stream
            .write(item(id, "a") + &item(id, "b") + &ended(id))
            .await;
        stream.finish();
        assert_eq!(soon(taking).await.unwrap().unwrap(), ["a", "b"]);

        let mut taking = pair.client.count("a", 2);
        let begun = item(0, "a") + &refusal;
        let (_, first) =
            soon(async { tokio::join!(pair.answer(&begun, true), taking.next()) }).await;
        assert_eq!(first.unwrap().unwrap(), "a");
        let second = soon(taking.next()).await.unwrap();
        assert!(matches!(
            second,
            Err(CallError::Connection {
                execution: Execution::MayHaveExecuted,
                ..
            })
        ));
        assert!(soon(taking.next()).await.is_none());
    }

    #[tokio::test]
    async fn rejected_request_stream_is_not_sent_again() {
        let mut pair = Pair::granting(100, true).await;
        let rejected = line(message::error(0, -32003, "Shutting down"));
        let sum = tokio::spawn(pair.client.sum(stream::iter([19, 23])).into_future());
        pair.answer(&rejected, true).await;
        let sum = soon(sum).await.unwrap();
        assert!(
            matches!(
                sum,
                Err(CallError::Connection {
                    execution: Execution::NotExecuted,
                    ..
                })
            ),
            "{sum:?}"
        );
        // The first call on the next connection is another one.
        pair.connection = pair.server.accept().await;
        let _add = tokio::spawn(pair.client.add(1, 2).into_future());
        let (_stream, call) = pair.connection.accept_call().await;
        assert_eq!(call["method"], "add");
    }

    #[tokio::test]
    async fn items_set_again_replace_those_set_before() {
        let pair = Pair::meet().await;
        let sum = pair.client.sum(stream::iter([1]));
        let sum = sum.upload(stream::iter([19, 23]));
        let answering = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            let id = call["id"].as_u64().unwrap();
            for expected in [
                message::item(id, 19),
                message::item(id, 23),
                message::end(id),
            ] {
                assert_eq!(stream.reply().await, expected);
            }
            stream.has_ended().await;
            stream.write_line(message::result(id, 42)).await;
            stream.finish();
            stream.stop_code().await;
        };
        let ((), sum) = soon(async { tokio::join!(answering, sum) }).await;
        assert_eq!(sum.unwrap(), 42);
    }

    #[tokio::test]
    async fn idempotent_stream_that_has_begun_is_not_called_again() {
        let pair = Pair::granting(100, true).await;
        let mut readings = pair.client.readings();
        let begin = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            stream.write(item(call["id"].clone(), 7)).await;
            stream
        };
        let (_stream, first) = soon(async { tokio::join!(begin, readings.next()) }).await;
        assert_eq!(first.unwrap().unwrap(), 7);

        pair.connection.close(0u32.into(), b"");
        let lost = soon(readings.next()).await.unwrap();
        assert!(
            matches!(
                lost,
                Err(CallError::Connection {
                    execution: Execution::MayHaveExecuted,
                    ..
                })
            ),
            "{lost:?}"
        );
        assert!(soon(readings.next()).await.is_none());
        // The first call on the next connection is another one.
        let next = pair.server.accept().await;
        let _add = tokio::spawn(pair.client.add(1, 2));
        let (_stream, call) = next.accept_call().await;
        assert_eq!(call["method"], "add");
    }

    #[tokio::test]
    async fn timeout_ends_a_stream_whatever_the_server_does() {
        let pair = Pair::meet().await;
        let limit = std::time::Duration::from_millis(100);
        // A server that sends without end.
        let answering = async {
            let (mut stream, call) = pair.connection.accept_call().await;
            let many = item(call["id"].clone(), "a").repeat(100);
            while stream.send.write_all(many.as_bytes()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let taking = async {
            let mut taking = pair.client.count("a", 3).timeout(limit);
            while let Some(item) = taking.next().await {
                match item {
                    Ok(item) => assert_eq!(item, "a"),
                    Err(error) => return error,
                }
                tokio::task::yield_now().await;
            }
            panic!("no end was sent")
        };
        let ((), error) = soon(async { tokio::join!(answering, taking) }).await;
        assert!(matches!(error, CallError::Timeout));
        // A server that reads without end.
        let reading = async {
            let (mut stream, _) = pair.connection.accept_call().await;
            while let Ok(Some(_)) = stream.recv.read_chunk(64 << 10, true).await {}
        };
        let sum = pair.client.sum(stream::iter(0..)).timeout(limit);
        let ((), sum) = soon(async { tokio::join!(reading, sum) }).await;
        assert!(matches!(sum, Err(CallError::Timeout)));
    }
}

/// A slow reader of items does not time out.
#[tokio::test]
async fn stream_with_a_slow_reader_outlasts_the_write_timeout() {
    let limits = Limits {
        write_timeout: std::time::Duration::from_millis(50),
        ..Limits::default()
    };
    let (server, _) = serve(limits);
    let connection = RawClient::connect_with_small_window(&server).await;
    let params = json!(["a", 5000]);
    let mut stream = connection.send(call(1, "count", params)).await;
    stream.finish();
    // Meanwhile five unread responses time out.
    for _ in 0..5 {
        let mut late = connection.send(call(1, "late", json!([]))).await;
        assert_eq!(late.reset_code().await, Some(TIMED_OUT));
    }
    for number in 1..=5000 {
        let expected = format!("item 1 \"a {number}\"");
        assert_eq!(next(&mut stream).await, expected);
    }
    assert_eq!(next(&mut stream).await, "result 1 null");
    stream.has_ended().await;
}
