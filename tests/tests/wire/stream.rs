//! Messages on streams: framing, concurrency, cancellation, limits, shutdown. The client is raw.

use std::time::Duration;

use quinn::{ConnectionError, VarInt};
use rpc_runtime::{Limits, rpc};
use serde_json::{Value, json};
use tests::message::{call, cancel, error, error_of_limit, line, notification, result};
use tests::peer::{ABORTED, CANCELLED, RawClient, RawConnection, RawStream, SHUT_DOWN};
use tests::support::{TestServer, soon};
use tokio::sync::{Barrier, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

#[rpc]
trait Calls {
    async fn echo(&self, value: Value) -> Value;
    async fn length(&self, text: &str) -> usize;
    async fn blob(&self, size: usize) -> String;
    /// As `blob`, and reports to the test.
    async fn loud_blob(&self, size: usize) -> String;
    /// As `loud_blob`, but is pending once.
    async fn late_blob(&self, size: usize) -> String;
    /// Waits until the test has opened the gate.
    async fn wait(&self, gate: &str) -> String;
    /// As `wait`, and panics when it is dropped before its end.
    async fn wait_and_panic_when_dropped(&self, gate: &str);
    /// Waits until two calls are in it.
    async fn meet(&self);
    async fn panic(&self);
    #[rpc(notification)]
    async fn note(&self, line: &str);
}

/// The events that handlers report to a test.
#[derive(Debug, PartialEq)]
enum Event {
    Started(String),
    /// The future was dropped before its end.
    Dropped(String),
    Noted(String),
}

use Event::{Dropped, Noted, Started};

struct Handlers {
    events: mpsc::UnboundedSender<Event>,
    gates: watch::Receiver<Vec<String>>,
    pair: Barrier,
}

impl Calls for Handlers {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn loud_blob(&self, size: usize) -> String {
        let _ = self.events.send(Started("blob".into()));
        "x".repeat(size)
    }

    async fn late_blob(&self, size: usize) -> String {
        let _ = self.events.send(Started("blob".into()));
        tokio::task::yield_now().await;
        "x".repeat(size)
    }

    async fn wait(&self, gate: &str) -> String {
        let _ = self.events.send(Started(gate.into()));
        let guard = DropGuard(&self.events, gate);
        let mut gates = self.gates.clone();
        gates
            .wait_for(|open| open.iter().any(|open| open == gate))
            .await
            .unwrap();
        std::mem::forget(guard);
        gate.into()
    }

    async fn wait_and_panic_when_dropped(&self, gate: &str) {
        struct Panic;
        impl Drop for Panic {
            fn drop(&mut self) {
                panic!("on purpose")
            }
        }
        let panic = Panic;
        self.wait(gate).await;
        std::mem::forget(panic);
    }

    async fn meet(&self) {
        self.pair.wait().await;
    }

    async fn panic(&self) {
        panic!("on purpose")
    }

    async fn note(&self, line: &str) {
        let _ = self.events.send(Noted(line.into()));
    }
}

struct DropGuard<'a>(&'a mpsc::UnboundedSender<Event>, &'a str);

impl Drop for DropGuard<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Dropped(self.1.into()));
    }
}

/// A server with a raw client.
struct Setup {
    server: TestServer,
    connection: RawConnection,
    events: mpsc::UnboundedReceiver<Event>,
    gates: watch::Sender<Vec<String>>,
}

impl Setup {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let (reported, events) = mpsc::unbounded_channel();
        let gates = watch::Sender::default();
        let handlers = Handlers {
            events: reported,
            gates: gates.subscribe(),
            pair: Barrier::new(2),
        };
        let server = TestServer::start(CallsServer::new(handlers), limits);
        let connection = RawClient::connect(&server).await;
        Self {
            server,
            connection,
            events,
            gates,
        }
    }

    async fn stream(&self) -> RawStream {
        self.connection.open().await
    }

    /// Connects with a receive window of 1,000 bytes for each stream.
    async fn connect_with_small_window(&self) -> RawConnection {
        RawClient::connect_with_small_window(&self.server).await
    }

    async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.unwrap()
    }

    fn open(&self, gate: &str) {
        self.gates.send_modify(|open| open.push(gate.into()));
    }

    /// Makes a call on another stream.
    async fn is_served(&self) {
        let replies = self
            .connection
            .exchange(line(call("is_served", "echo", [1])))
            .await;
        assert_eq!(replies, [result("is_served", 1)]);
    }
}

/// Returns a cancellation of the call whose request ends at `offset` of the stream with the ID `stream`.
fn cancel_at(id: impl Into<Value>, stream: u64, offset: u64) -> Value {
    let params = json!({"id": id.into(), "stream": stream, "offset": offset});
    notification("rpc.cancel", params)
}

fn parse_error() -> Value {
    error(Value::Null, -32700, "Parse error")
}

/// Returns a call of `length` with its id last, where a server that rejects an oversized message does not find it.
fn length_of(text: &str, id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"length","params":["{text}"],"id":{id}}}"#)
}

/// Returns a call of `length` in a message of this number of bytes.
fn message_of(bytes: usize, id: u32) -> String {
    let text = "x".repeat(bytes - length_of("", id).len());
    length_of(&text, id)
}

fn length_in(message: &str, id: u32) -> Value {
    result(id, message.len() - length_of("", id).len())
}

#[tokio::test]
async fn client_of_another_protocol_is_rejected() {
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    let setup = Setup::start().await;
    for protocol in ["h3", "jsonrpc", "jsonrpc/2"] {
        let client = RawClient::new(&setup.server).protocol(protocol);
        match client.try_dial().await {
            Err(ConnectionError::ConnectionClosed(close)) => {
                let expected = quinn::TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL);
                assert_eq!(close.error_code, expected);
            }
            other => panic!("{other:?}"),
        }
    }
    setup.is_served().await;
}

mod framing {
    use super::*;

    #[tokio::test]
    async fn stream_carries_many_messages() {
        let setup = Setup::start().await;
        let sent: String = (0..5000).map(|id| line(call(id, "echo", [id]))).collect();
        let replies = setup.connection.exchange(&sent).await;
        assert!(replies.into_iter().eq((0..5000).map(|id| result(id, id))));
    }

    #[tokio::test]
    async fn packet_carries_many_messages() {
        let setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream
            .write(
                (1..=3)
                    .map(|id| line(call(id, "echo", [id])))
                    .collect::<String>(),
            )
            .await;
        for id in 1..=3 {
            assert_eq!(stream.reply().await, result(id, id));
        }
        stream.finish();
        stream.has_ended().await;
    }

    #[tokio::test]
    async fn message_in_packets_of_one_byte_is_served() {
        let setup = Setup::start().await;
        let mut stream = setup.stream().await;
        for byte in line(call(1, "echo", ["é\n🎉"])).bytes() {
            stream.write([byte]).await;
            // Bytes that were written before are sent with this call.
            setup.is_served().await;
        }
        assert_eq!(stream.reply().await, result(1, "é\n🎉"));
    }

    #[tokio::test]
    async fn response_is_sent_before_the_next_message_is_complete() {
        let setup = Setup::start().await;
        let mut stream = setup.stream().await;
        for id in 0..10 {
            stream
                .write(format!("{}\n{{", call(id, "echo", [id])))
                .await;
            assert_eq!(stream.reply().await, result(id, id));
            stream.write("}\n").await;
            assert_eq!(stream.reply().await["error"]["code"], -32600);
        }
    }

    #[tokio::test]
    async fn last_message_without_newline_is_served() {
        let setup = Setup::start().await;
        let sent = format!("{}\n{}", call(1, "echo", [1]), call(2, "echo", [2]));
        let replies = setup.connection.exchange(&sent).await;
        assert_eq!(replies, [result(1, 1), result(2, 2)]);
    }

    #[tokio::test]
    async fn message_truncated_by_the_end_of_the_stream_is_a_parse_error() {
        let setup = Setup::start().await;
        let whole = r#"{"jsonrpc":"2.0","method":"echo","params":[[1,2],[3,4]],"id":1}"#;
        for end in 1..whole.len() {
            let replies = setup.connection.exchange(&whole[..end]).await;
            assert_eq!(replies, [parse_error()], "{}", &whole[..end]);
        }
        setup.is_served().await;
    }

    #[tokio::test]
    async fn message_truncated_by_a_reset_is_ignored() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(notification("note", ["whole"])).await;
        stream
            .write(&line(notification("note", ["cut"]))[..30])
            .await;
        assert_eq!(setup.event().await, Noted("whole".into()));
        stream.reset(CANCELLED);
        stream.was_reset(CANCELLED).await;
        setup.is_served().await;
        assert!(setup.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn stream_without_calls_is_ended_by_the_server() {
        let setup = Setup::start().await;
        let notes = line(notification("note", ["a"])).repeat(2);
        for sent in ["", "\n", " \r\n\n", &notes, notes.trim_end()] {
            let mut stream = setup.stream().await;
            stream.write(sent).await;
            stream.finish();
            stream.has_ended().await;
        }
    }

    #[tokio::test]
    async fn message_of_one_mebibyte_is_served_and_a_larger_one_rejected() {
        let setup = Setup::start().await;
        let [most, more] = [message_of(1 << 20, 1), message_of((1 << 20) + 1, 2)];
        let next = call(3, "echo", [3]);
        let sent = format!("{most}\n{more}\n{next}\n{more}");
        let replies = setup.connection.exchange(&sent).await;
        let refused = error_of_limit(
            Value::Null,
            (-32007, "Request too large"),
            "max_request_bytes (1048576)",
        );
        let expected = [length_in(&most, 1), refused.clone(), result(3, 3), refused];
        assert_eq!(replies, expected);
    }

    #[tokio::test]
    async fn oversized_message_with_its_id_first_is_rejected_by_id() {
        let limits = Limits {
            max_request_bytes: 100,
            ..Limits::default()
        };
        let setup = Setup::with(limits).await;
        let sent = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"echo","params":["{}"]}}"#,
            "x".repeat(10 << 20)
        );
        let replies = setup.connection.exchange(&sent).await;
        assert_eq!(
            replies,
            [error_of_limit(
                7,
                (-32007, "Request too large"),
                "max_request_bytes (100)"
            )]
        );
        setup.is_served().await;
    }

    #[tokio::test]
    async fn large_message_and_its_response_arrive_in_pieces() {
        let setup = Setup::start().await;
        let text = "é\u{1}🎉\"\\".repeat(40_000);
        let sent = line(call(1, "echo", [text.as_str()]));
        let replies = setup.connection.exchange(&sent).await;
        assert_eq!(replies, [result(1, text)]);
    }
}

mod unidirectional {
    use super::*;

    #[tokio::test]
    async fn unidirectional_stream_carries_notifications() {
        let mut setup = Setup::start().await;
        let [first, last] = ["first", "last"].map(|text| notification("note", [text]));
        setup
            .connection
            .send_uni(format!("{first}\n\n{last}"))
            .await;
        assert_eq!(setup.event().await, Noted("first".into()));
        assert_eq!(setup.event().await, Noted("last".into()));
    }

    #[tokio::test]
    async fn invalid_message_on_a_unidirectional_stream_is_skipped() {
        let mut setup = Setup::start().await;
        let note = notification("note", ["served"]);
        setup
            .connection
            .send_uni(format!("{{\n[]\n[1]\n{{}}\n\u{feff}\n{note}\n"))
            .await;
        assert_eq!(setup.event().await, Noted("served".into()));
        setup.is_served().await;
    }

    #[tokio::test]
    async fn call_on_a_unidirectional_stream_is_not_executed() {
        let mut setup = Setup::start().await;
        let [single, entry] = ["single", "entry"].map(|text| call(1, "note", [text]));
        let note = notification("note", ["note"]);
        setup
            .connection
            .send_uni(format!("{single}\n[{entry},{note}]\n"))
            .await;
        assert_eq!(setup.event().await, Noted("note".into()));
        assert!(setup.events.try_recv().is_err());
    }
}

mod concurrency {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_are_served_concurrently() {
        let setup = Setup::start().await;
        let mut streams = JoinSet::new();
        for id in 0..500 {
            let connection = setup.connection.clone();
            streams.spawn(async move {
                let sent = line(call(id, "echo", [id])).repeat(3);
                let replies = connection.exchange(&sent).await;
                assert_eq!(replies, [result(id, id), result(id, id), result(id, id)]);
            });
        }
        soon(streams.join_all()).await;
    }

    #[tokio::test]
    async fn responses_are_sent_in_the_order_in_which_calls_end() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call("slow", "wait", ["slow"])).await;
        stream.write_line(call("slower", "wait", ["slower"])).await;
        stream.write_line(call("fast", "echo", [1])).await;
        assert_eq!(stream.reply().await, result("fast", 1));
        assert_eq!(setup.event().await, Started("slow".into()));
        assert_eq!(setup.event().await, Started("slower".into()));
        setup.open("slower");
        assert_eq!(stream.reply().await, result("slower", "slower"));
        setup.open("slow");
        assert_eq!(stream.reply().await, result("slow", "slow"));
    }

    #[tokio::test]
    async fn calls_that_run_when_the_client_ends_its_half_are_answered() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["a"])).await;
        stream.write_line(call(2, "wait", ["b"])).await;
        stream.finish();
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        setup.open("b");
        assert_eq!(stream.reply().await, result(2, "b"));
        setup.open("a");
        assert_eq!(stream.reply().await, result(1, "a"));
        stream.has_ended().await;
    }

    #[tokio::test]
    async fn incomplete_message_blocks_no_other_stream() {
        let setup = Setup::start().await;
        let mut half = setup.stream().await;
        half.write("{\"jsonrpc\": \"2.0\", ").await;
        setup.is_served().await;
        half.write("\"method\": \"echo\", \"params\": [1], \"id\": 1}\n")
            .await;
        assert_eq!(half.reply().await, result(1, 1));
    }

    #[tokio::test]
    async fn unread_responses_block_no_other_stream() {
        let setup = Setup::start().await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        for id in 0..50 {
            unread.write_line(call(id, "blob", [100_000])).await;
        }
        for _ in 0..10 {
            let mut other = connection.open().await;
            other.write_line(call(1, "echo", [1])).await;
            assert_eq!(other.reply().await, result(1, 1));
        }
        for id in 0..50 {
            assert_eq!(unread.reply().await, result(id, "x".repeat(100_000)));
        }
    }

    #[tokio::test]
    async fn panicking_handler_is_answered_and_blocks_no_other_call() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        stream.write_line(call(2, "panic", json!([]))).await;
        assert_eq!(stream.reply().await, error(2, -32603, "Internal error"));
        stream.write_line(call(3, "echo", [3])).await;
        assert_eq!(stream.reply().await, result(3, 3));
        setup.open("gate");
        assert_eq!(stream.reply().await, result(1, "gate"));
        setup.is_served().await;
    }

    #[tokio::test]
    async fn batch_entries_run_concurrently() {
        let setup = Setup::start().await;
        let batch = json!([
            call(1, "meet", json!([])),
            call(2, "echo", [2]),
            call(3, "meet", json!([]))
        ]);
        let replies = setup.connection.exchange(line(batch)).await;
        let [Value::Array(replies)] = &replies[..] else {
            panic!("{replies:?}");
        };
        assert_eq!(replies.len(), 3);
        for reply in [result(1, Value::Null), result(2, 2), result(3, Value::Null)] {
            assert!(replies.contains(&reply), "{reply} is not in {replies:?}");
        }
    }

    #[tokio::test]
    async fn pending_batch_does_not_block_its_stream() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream
            .write_line(json!([call(1, "wait", ["gate"]), call(2, "echo", [2])]))
            .await;
        assert_eq!(setup.event().await, Started("gate".into()));
        stream.write_line(call(3, "echo", [3])).await;
        assert_eq!(stream.reply().await, result(3, 3));
        setup.open("gate");
        let reply = stream.reply().await;
        assert!(
            reply.as_array().unwrap().contains(&result(1, "gate")),
            "{reply}"
        );
    }
}

mod cancellation {
    use super::*;

    #[tokio::test]
    async fn cancelled_call_is_dropped_and_answered() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["other"])).await;
        assert_eq!(setup.event().await, Started("other".into()));
        for (id, cancel) in [
            (json!(2), cancel(2)),
            (json!("2"), cancel("2")),
            (json!(null), cancel(Value::Null)),
            (json!(-1), notification("rpc.cancel", json!({"id": -1}))),
        ] {
            stream.write_line(call(id.clone(), "wait", ["gate"])).await;
            assert_eq!(setup.event().await, Started("gate".into()));
            stream.write_line(cancel).await;
            assert_eq!(setup.event().await, Dropped("gate".into()));
            assert_eq!(stream.reply().await, error(id, -32001, "Cancelled"));
        }
        setup.open("other");
        assert_eq!(stream.reply().await, result(1, "other"));
    }

    #[tokio::test]
    async fn cancellation_in_the_same_packet_as_its_call_takes_effect() {
        let mut setup = Setup::start().await;
        let sent = line(call(1, "wait", ["gate"])) + &line(cancel(1));
        let replies = setup.connection.exchange(&sent).await;
        assert_eq!(replies, [error(1, -32001, "Cancelled")]);
        assert_eq!(setup.event().await, Started("gate".into()));
        assert_eq!(setup.event().await, Dropped("gate".into()));
    }

    #[tokio::test]
    async fn cancellation_with_an_id_is_answered() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        stream.write_line(call(2, "rpc.cancel", [1])).await;
        let mut replies = [stream.reply().await, stream.reply().await];
        replies.sort_by_key(|reply| reply["id"].as_u64());
        assert_eq!(
            replies,
            [error(1, -32001, "Cancelled"), result(2, Value::Null)]
        );
    }

    #[tokio::test]
    async fn cancellation_on_a_unidirectional_stream_reaches_every_stream() {
        let mut setup = Setup::start().await;
        let mut streams = [setup.stream().await, setup.stream().await];
        for (id, stream) in streams.iter_mut().enumerate() {
            stream.write_line(call(id, "wait", ["gate"])).await;
            assert_eq!(setup.event().await, Started("gate".into()));
        }
        for (id, stream) in streams.iter_mut().enumerate() {
            setup.connection.send_uni(line(cancel(id))).await;
            assert_eq!(setup.event().await, Dropped("gate".into()));
            assert_eq!(stream.reply().await, error(id, -32001, "Cancelled"));
        }
    }

    #[tokio::test]
    async fn cancellation_before_its_request_stops_that_call_only() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["open"])).await;
        assert_eq!(setup.event().await, Started("open".into()));
        let request = line(call(7, "wait", ["cancelled"]));
        let end = stream.offset() + request.len() as u64;
        let cancel = line(cancel_at(7, stream.id(), end));
        setup.connection.send_uni(cancel).await;
        setup.connection.wait_until_processed().await;
        stream.write(request).await;
        for (id, gate) in [(8, "other"), (7, "same id")] {
            stream.write_line(call(id, "wait", [gate])).await;
        }
        assert_eq!(stream.reply().await, error(7, -32001, "Cancelled"));
        assert_eq!(setup.event().await, Started("other".into()));
        assert_eq!(setup.event().await, Started("same id".into()));
    }

    #[tokio::test]
    async fn cancellation_before_its_stream_is_opened_stops_the_call() {
        let mut setup = Setup::start().await;
        // A client's first bidirectional stream has the ID 0 (RFC 9000, section 2.1).
        let request = line(call(7, "wait", ["cancelled"]));
        let cancel = line(cancel_at(7, 0, request.len() as u64));
        // It is read after the cancellation, and opens no bidirectional stream.
        let told = line(notification("wait", json!(["told"])));
        setup.connection.send_uni(cancel + &told).await;
        assert_eq!(setup.event().await, Started("told".into()));
        let mut stream = setup.stream().await;
        assert_eq!(stream.id(), 0);
        stream.write(request).await;
        stream.write_line(call(7, "wait", ["same id"])).await;
        assert_eq!(stream.reply().await, error(7, -32001, "Cancelled"));
        assert_eq!(setup.event().await, Started("same id".into()));
    }

    #[tokio::test]
    async fn cancellation_at_an_offset_has_the_same_effect_on_every_stream() {
        let mut setup = Setup::start().await;
        let (mut stream, mut other) = (setup.stream().await, setup.stream().await);
        for (id, carrier) in [(1, "same"), (2, "other"), (3, "unidirectional")] {
            stream.write_line(call(id, "wait", [carrier])).await;
            assert_eq!(setup.event().await, Started(carrier.into()));
            let cancel = cancel_at(id, stream.id(), stream.offset());
            match carrier {
                "same" => stream.write_line(cancel).await,
                "other" => other.write_line(cancel).await,
                _ => drop(setup.connection.send_uni(line(cancel)).await),
            }
            assert_eq!(setup.event().await, Dropped(carrier.into()));
            assert_eq!(stream.reply().await, error(id, -32001, "Cancelled"));
        }
    }

    #[tokio::test]
    async fn cancellation_after_its_call_has_ended_stops_no_later_call() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(7, "wait", ["first"])).await;
        let end = stream.offset();
        stream.write_line(cancel(7)).await;
        assert_eq!(stream.reply().await, error(7, -32001, "Cancelled"));
        let cancel = line(cancel_at(7, stream.id(), end));
        setup.connection.send_uni(cancel).await;
        setup.connection.wait_until_processed().await;
        stream.write_line(call(7, "wait", ["second"])).await;
        for event in [
            Started("first".into()),
            Dropped("first".into()),
            Started("second".into()),
        ] {
            assert_eq!(setup.event().await, event);
        }
    }

    #[tokio::test]
    async fn cancellation_without_an_offset_has_no_effect_on_later_calls() {
        let mut setup = Setup::start().await;
        setup.connection.send_uni(line(cancel(7))).await;
        setup.connection.wait_until_processed().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(7, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        setup.open("gate");
        assert_eq!(stream.reply().await, result(7, "gate"));
    }

    #[tokio::test]
    async fn call_waiting_for_a_permit_is_cancelled() {
        let limits = Limits {
            max_concurrent_calls_per_connection: 1,
            ..Limits::default()
        };
        let mut setup = Setup::with(limits).await;
        let mut stream = setup.stream().await;
        let mut ends = Vec::new();
        for gate in [1, 2, 3] {
            stream
                .write_line(call(gate, "wait", [gate.to_string()]))
                .await;
            ends.push(stream.offset());
        }
        assert_eq!(setup.event().await, Started("1".into()));
        let cancel = line(cancel_at(2, stream.id(), ends[1]));
        setup.connection.send_uni(cancel).await;
        setup.connection.wait_until_processed().await;
        setup.open("1");
        setup.open("3");
        assert_eq!(stream.reply().await, result(1, "1"));
        assert_eq!(stream.reply().await, error(2, -32001, "Cancelled"));
        assert_eq!(stream.reply().await, result(3, "3"));
        assert_eq!(setup.event().await, Started("3".into()));
    }

    #[tokio::test]
    async fn deadline_of_a_call_waiting_for_a_permit_expires() {
        let limits = Limits {
            max_concurrent_calls_per_connection: 1,
            ..Limits::default()
        };
        let mut setup = Setup::with(limits).await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        let mut late = call(2, "wait", ["late"]);
        late["timeout"] = json!(10);
        stream.write_line(late).await;
        let mut waited = error(2, -32002, "Deadline passed");
        waited["error"]["data"] = "waited for max_concurrent_calls_per_connection (1)".into();
        assert_eq!(stream.reply().await, waited);
        setup.open("gate");
        assert_eq!(stream.reply().await, result(1, "gate"));
        assert_eq!(setup.event().await, Started("gate".into()));
        assert!(setup.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn cancellation_from_another_stream_or_connection_has_no_effect() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        let stranger = RawClient::connect(&setup.server).await;
        let no_news = line(call(2, "rpc.cancel", [1]));
        for connection in [&setup.connection, &stranger] {
            let replies = connection.exchange(&no_news).await;
            assert_eq!(replies, [result(2, Value::Null)]);
        }
        setup.open("gate");
        assert_eq!(stream.reply().await, result(1, "gate"));
    }

    #[tokio::test]
    async fn batch_entry_is_cancelled_alone() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream
            .write_line(json!([call(1, "wait", ["a"]), call(2, "wait", ["b"])]))
            .await;
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        stream.write_line(cancel(1)).await;
        assert_eq!(setup.event().await, Dropped("a".into()));
        setup.open("b");
        let expected = json!([error(1, -32001, "Cancelled"), result(2, "b")]);
        assert_eq!(stream.reply().await, expected);
    }

    #[tokio::test]
    async fn reset_drops_all_calls_of_its_stream() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream
            .write_line(json!([
                call(1, "wait", ["gate"]),
                notification("wait", ["gate"])
            ]))
            .await;
        stream.write_line(call(2, "wait", ["gate"])).await;
        for _ in 0..3 {
            assert_eq!(setup.event().await, Started("gate".into()));
        }
        stream.reset(CANCELLED);
        for _ in 0..3 {
            assert_eq!(setup.event().await, Dropped("gate".into()));
        }
        stream.was_reset(CANCELLED).await;
        setup.is_served().await;
    }

    #[tokio::test]
    async fn stop_drops_all_calls_of_its_stream() {
        let mut setup = Setup::start().await;
        for finished in [false, true] {
            let mut stream = setup.stream().await;
            stream.write_line(call(1, "wait", ["gate"])).await;
            stream.write_line(call(2, "wait", ["gate"])).await;
            if finished {
                stream.finish();
            }
            assert_eq!(setup.event().await, Started("gate".into()));
            assert_eq!(setup.event().await, Started("gate".into()));
            stream.stop(CANCELLED);
            assert_eq!(setup.event().await, Dropped("gate".into()));
            assert_eq!(setup.event().await, Dropped("gate".into()));
            setup.is_served().await;
        }
    }

    #[tokio::test]
    async fn stop_prevents_later_calls_of_its_stream() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["before"])).await;
        assert_eq!(setup.event().await, Started("before".into()));
        stream.stop(CANCELLED);
        assert_eq!(setup.event().await, Dropped("before".into()));
        // The server may have stopped this half.
        let after = line(call(2, "wait", ["after"]));
        let _ = soon(stream.send.write_all(after.as_bytes())).await;
        setup.is_served().await;
        assert!(setup.events.try_recv().is_err());
    }

    #[tokio::test]
    async fn stop_with_unread_responses_starts_no_call_of_its_stream() {
        let mut setup = Setup::start().await;
        let connection = setup.connect_with_small_window().await;
        let mut stream = connection.open().await;
        for id in 0..2000 {
            stream.write_line(call(id, "late_blob", [20_000])).await;
        }
        connection.wait_until_processed().await;
        while setup.events.try_recv().is_ok() {}
        stream.stop(CANCELLED);
        connection.wait_until_processed().await;
        let started = std::iter::from_fn(|| setup.events.try_recv().ok()).count();
        assert_eq!(started, 0);
    }

    #[tokio::test]
    async fn closed_connection_drops_all_its_calls() {
        let mut setup = Setup::start().await;
        let mut streams = [setup.stream().await, setup.stream().await];
        for stream in &mut streams {
            stream.write_line(call(1, "wait", ["gate"])).await;
            assert_eq!(setup.event().await, Started("gate".into()));
        }
        setup.connection.close(VarInt::from_u32(0), b"");
        assert_eq!(setup.event().await, Dropped("gate".into()));
        assert_eq!(setup.event().await, Dropped("gate".into()));
    }

    #[tokio::test]
    async fn handler_that_panics_when_dropped_does_not_affect_other_streams() {
        let limits = Limits {
            max_concurrent_calls_per_connection: 2,
            ..Limits::default()
        };
        let mut setup = Setup::with(limits).await;
        for batch in [false, true] {
            for _ in 0..3 {
                let mut stream = setup.stream().await;
                let bad = call(1, "wait_and_panic_when_dropped", ["gate"]);
                stream
                    .write_line(if batch { json!([bad]) } else { bad })
                    .await;
                assert_eq!(setup.event().await, Started("gate".into()));
                stream.write_line(cancel(1)).await;
                assert_eq!(setup.event().await, Dropped("gate".into()));
                setup.is_served().await;
            }
        }
    }

    #[tokio::test]
    async fn handler_that_panics_when_dropped_is_answered() {
        let setup = Setup::start().await;
        let mut stream = setup.stream().await;
        for batch in [false, true] {
            let bad = call(1, "wait_and_panic_when_dropped", ["gate"]);
            stream
                .write_line(if batch { json!([bad]) } else { bad })
                .await;
            stream.write_line(cancel(1)).await;
            let answer = error(1, -32603, "Internal error");
            let answer = if batch { json!([answer]) } else { answer };
            assert_eq!(stream.reply().await, answer);
        }
        let mut late = call(2, "wait_and_panic_when_dropped", ["gate"]);
        late["timeout"] = json!(10);
        stream.write_line(late).await;
        assert_eq!(stream.reply().await, error(2, -32603, "Internal error"));
        stream.write_line(call(3, "echo", [3])).await;
        assert_eq!(stream.reply().await, result(3, 3));
    }

    #[tokio::test]
    async fn handlers_that_panic_when_their_connection_closes_do_not_affect_other_connections() {
        let mut setup = Setup::start().await;
        let other = RawClient::connect(&setup.server).await;
        let mut stream = other.open().await;
        let bad = call(1, "wait_and_panic_when_dropped", ["gate"]);
        stream.write_line(json!([bad.clone(), bad.clone()])).await;
        stream.write_line(bad).await;
        for _ in 0..3 {
            assert_eq!(setup.event().await, Started("gate".into()));
        }
        other.close(VarInt::from_u32(0), b"");
        for _ in 0..3 {
            assert_eq!(setup.event().await, Dropped("gate".into()));
        }
        setup.is_served().await;
        assert!(soon(setup.server.handle.shutdown(Duration::from_secs(5))).await);
    }

    #[tokio::test]
    async fn handlers_that_panic_when_dropped_leave_no_task() {
        let tasks = tokio::runtime::Handle::current().metrics();
        let mut setup = Setup::start().await;
        setup.is_served().await;
        setup.connection.wait_until_processed().await;
        let before = tasks.num_alive_tasks();
        for way in 0..4 {
            let mut stream = setup.stream().await;
            let bad = call(1, "wait_and_panic_when_dropped", ["gate"]);
            stream.write_line(bad.clone()).await;
            stream.write_line(json!([bad.clone(), bad])).await;
            for _ in 0..3 {
                assert_eq!(setup.event().await, Started("gate".into()));
            }
            match way {
                0 => stream.reset(CANCELLED),
                1 => stream.stop(CANCELLED),
                2 => stream.write_line(cancel(1)).await,
                _ => drop(setup.connection.send_uni(line(cancel(1))).await),
            }
            for _ in 0..3 {
                assert_eq!(setup.event().await, Dropped("gate".into()));
            }
            drop(stream);
            setup.is_served().await;
        }
        soon(async {
            while tasks.num_alive_tasks() > before {
                setup.connection.wait_until_processed().await;
            }
        })
        .await;
        assert!(soon(setup.server.handle.shutdown(Duration::from_secs(5))).await);
    }

    #[tokio::test]
    async fn call_past_its_deadline_is_dropped_and_answered() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        let mut late = call(1, "wait", ["gate"]);
        late["timeout"] = json!(10);
        stream.write_line(late).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        assert_eq!(setup.event().await, Dropped("gate".into()));
        assert_eq!(stream.reply().await, error(1, -32002, "Deadline passed"));
    }
}

mod limits {
    use super::*;

    async fn narrow(calls: usize) -> Setup {
        let limits = Limits {
            max_concurrent_calls_per_connection: calls,
            ..Limits::default()
        };
        Setup::with(limits).await
    }

    #[tokio::test]
    async fn calls_past_the_limit_start_when_others_have_ended() {
        let mut setup = narrow(2).await;
        let mut stream = setup.stream().await;
        for gate in ["a", "b", "c"] {
            stream.write_line(call(gate, "wait", [gate])).await;
        }
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        setup.connection.wait_until_processed().await;
        assert!(setup.events.try_recv().is_err());

        setup.connection.send_uni(line(cancel("a"))).await;
        assert_eq!(setup.event().await, Dropped("a".into()));
        assert_eq!(setup.event().await, Started("c".into()));
        assert_eq!(stream.reply().await, error("a", -32001, "Cancelled"));

        let mut other = setup.stream().await;
        other.write_line(call("d", "wait", ["d"])).await;
        setup.connection.wait_until_processed().await;
        assert!(setup.events.try_recv().is_err());
        setup.open("b");
        assert_eq!(setup.event().await, Started("d".into()));
        assert_eq!(stream.reply().await, result("b", "b"));
    }

    #[tokio::test]
    async fn batch_entries_count_as_calls() {
        let mut setup = narrow(2).await;
        let mut stream = setup.stream().await;
        let entries = ["a", "b", "c"].map(|gate| call(gate, "wait", [gate]));
        stream.write_line(json!(entries)).await;
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        setup.connection.wait_until_processed().await;
        assert!(setup.events.try_recv().is_err());
        setup.open("b");
        assert_eq!(setup.event().await, Started("c".into()));
        setup.open("a");
        setup.open("c");
        assert_eq!(stream.reply().await.as_array().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn calls_of_all_connections_past_the_limit_wait() {
        let limits = Limits {
            max_concurrent_calls: 1,
            ..Limits::default()
        };
        let mut setup = Setup::with(limits).await;
        let mut first = setup.stream().await;
        first.write_line(call(1, "wait", ["a"])).await;
        assert_eq!(setup.event().await, Started("a".into()));
        let other = RawClient::connect(&setup.server).await;
        let mut second = other.open().await;
        second.write_line(call(1, "wait", ["b"])).await;
        other.wait_until_processed().await;
        assert!(setup.events.try_recv().is_err());
        setup.open("a");
        assert_eq!(setup.event().await, Started("b".into()));
    }

    #[tokio::test]
    async fn reset_at_the_limit_of_calls_drops_the_calls_of_its_stream() {
        let mut setup = narrow(2).await;
        let mut stream = setup.stream().await;
        for gate in ["a", "b", "c"] {
            stream.write_line(call(gate, "wait", [gate])).await;
        }
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        setup.connection.wait_until_processed().await;
        stream.reset(CANCELLED);
        assert!(matches!(setup.event().await, Dropped(_)));
        assert!(matches!(setup.event().await, Dropped(_)));
        setup.is_served().await;
    }

    #[tokio::test]
    async fn stop_at_the_limit_of_calls_drops_the_calls_of_its_stream() {
        let mut setup = narrow(2).await;
        let mut stream = setup.stream().await;
        for gate in ["a", "b", "c"] {
            stream.write_line(call(gate, "wait", [gate])).await;
        }
        assert_eq!(setup.event().await, Started("a".into()));
        assert_eq!(setup.event().await, Started("b".into()));
        setup.connection.wait_until_processed().await;
        stream.stop(CANCELLED);
        assert!(matches!(setup.event().await, Dropped(_)));
        assert!(matches!(setup.event().await, Dropped(_)));
        setup.is_served().await;
    }

    #[tokio::test]
    async fn unread_responses_at_the_limit_of_calls_block_no_other_stream() {
        let setup = narrow(4).await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        for id in 0..8 {
            let batch = [call(id, "wait", ["gate"]), call(id, "blob", [300_000])];
            unread.write_line(json!(batch)).await;
        }
        connection.wait_until_processed().await;
        setup.open("gate");
        connection.wait_until_processed().await;
        let mut other = connection.open().await;
        other.write_line(call(1, "echo", [1])).await;
        assert_eq!(other.reply().await, result(1, 1));
    }

    #[tokio::test]
    async fn unread_responses_of_a_pending_handler_at_the_limit_of_calls_block_no_other_stream() {
        let mut setup = narrow(1).await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        // The response is below the limit of unsent bytes of a stream.
        unread.write_line(call(1, "late_blob", [60_000])).await;
        assert_eq!(setup.event().await, Started("blob".into()));
        connection.wait_until_processed().await;
        let replies = connection.exchange(line(call(2, "echo", [2]))).await;
        assert_eq!(replies, [result(2, 2)]);
        assert_eq!(unread.reply().await, result(1, "x".repeat(60_000)));
    }

    #[tokio::test]
    async fn calls_with_unread_responses_are_started_only_up_to_a_limit() {
        let mut setup = Setup::start().await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        for id in 0..2000 {
            unread.write_line(call(id, "late_blob", [20_000])).await;
        }
        connection.wait_until_processed().await;
        let started = std::iter::from_fn(|| setup.events.try_recv().ok()).count();
        assert!(started < 200, "{started} calls were started");
        drop(unread);
    }

    #[tokio::test]
    async fn calls_in_one_packet_with_unread_responses_are_started_only_up_to_a_limit() {
        let mut setup = Setup::start().await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        let calls = (0..40).map(|id| line(call(id, "loud_blob", [100_000])));
        unread.write(calls.collect::<String>()).await;
        connection.wait_until_processed().await;
        let started = std::iter::from_fn(|| setup.events.try_recv().ok()).count();
        // One response is being sent, and three more exceed the limit of unsent bytes.
        assert!((1..=6).contains(&started), "{started} calls were started");
        for id in 0..40 {
            assert_eq!(unread.reply().await, result(id, "x".repeat(100_000)));
        }
    }

    #[tokio::test]
    async fn request_nested_too_deeply_is_rejected_by_its_id_if_that_is_first() {
        let setup = Setup::start().await;
        let deep = "[".repeat(130) + &"]".repeat(130);
        let front = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"echo","params":{deep}}}"#);
        let behind = format!(r#"{{"jsonrpc":"2.0","method":"echo","params":{deep},"id":7}}"#);
        let next = call(8, "echo", [8]);
        let sent = format!("{front}\n{behind}\n{next}\n");
        let replies = setup.connection.exchange(&sent).await;
        let refused = |id: Value| error_of_limit(id, (-32700, "Parse error"), "max_depth (128)");
        let expected = [refused(json!(7)), refused(Value::Null), result(8, 8)];
        assert_eq!(replies, expected);
    }

    #[tokio::test]
    async fn batch_response_with_rejected_entries_stays_within_the_limit() {
        let limits = Limits {
            max_response_bytes: 1000,
            ..Limits::default()
        };
        let setup = Setup::with(limits).await;
        for size in 500..1000 {
            let batch = [
                call(1, "blob", [size]),
                call(2, "blob", [90]),
                call(3, "blob", [90]),
            ];
            let replies = setup.connection.exchange(line(json!(batch))).await;
            assert_eq!(replies[0].as_array().unwrap().len(), 3);
            let length = replies[0].to_string().len();
            assert!(length <= 1000, "{length} bytes: {}", replies[0]);
        }
    }

    #[tokio::test]
    async fn response_past_the_limit_is_replaced_by_an_error() {
        let around = result(1, "").to_string().len();
        let limits = Limits {
            max_response_bytes: 5000,
            ..Limits::default()
        };
        let setup = Setup::with(limits).await;
        for (size, reply) in [
            (5000 - around, result(1, "x".repeat(5000 - around))),
            (
                5000 - around + 1,
                error_of_limit(1, (-32008, "Reply too large"), "max_response_bytes (5000)"),
            ),
        ] {
            let sent = line(call(1, "blob", [size]));
            assert_eq!(setup.connection.exchange(&sent).await, [reply]);
        }
        setup.is_served().await;
    }

    #[tokio::test]
    async fn response_of_four_mebibytes_is_sent_and_a_larger_one_replaced() {
        let setup = Setup::start().await;
        let sent = line(call(1, "blob", [4_000_000])) + &line(call(2, "blob", [4 << 20]));
        let replies = setup.connection.exchange(&sent).await;
        let large = result(1, "x".repeat(4_000_000));
        assert!(
            replies
                == [
                    large,
                    error_of_limit(
                        2,
                        (-32008, "Reply too large"),
                        "max_response_bytes (4194304)"
                    )
                ]
        );
    }

    #[tokio::test]
    async fn batch_of_a_hundred_entries_is_served_and_a_longer_one_rejected() {
        let mut setup = Setup::start().await;
        let batch: Vec<_> = (0..100).map(|id| call(id, "echo", [id])).collect();
        let replies = setup.connection.exchange(line(json!(batch))).await;
        let expected: Vec<_> = (0..100).map(|id| result(id, id)).collect();
        assert_eq!(replies, [json!(expected)]);

        let batch = vec![notification("note", ["in the batch"]); 101];
        let sent = line(json!(batch)) + &line(notification("note", ["behind it"]));
        let replies = setup.connection.exchange(&sent).await;
        assert_eq!(
            replies,
            [error_of_limit(
                Value::Null,
                (-32010, "Batch too large"),
                "max_batch_entries (100)"
            )]
        );
        assert_eq!(setup.event().await, Noted("behind it".into()));
    }

    #[tokio::test]
    async fn batch_entries_that_do_not_fit_the_response_are_replaced() {
        let limits = Limits {
            max_response_bytes: 1000,
            ..Limits::default()
        };
        let setup = Setup::with(limits).await;
        let batch = [
            call(1, "blob", [500]),
            call(2, "blob", [500]),
            call(3, "blob", [100]),
        ];
        let replies = setup.connection.exchange(line(json!(batch))).await;
        let expected = json!([
            result(1, "x".repeat(500)),
            error_of_limit(
                2,
                (-32011, "Batch reply too large"),
                "max_response_bytes (1000)"
            ),
            result(3, "x".repeat(100)),
        ]);
        assert_eq!(replies, [expected]);
    }

    /// Makes concurrent calls that end in every way.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn permits_are_released_after_calls_that_end_in_any_way() {
        let mut setup = narrow(8).await;
        let mut storm = JoinSet::new();
        for round in 0..400 {
            let connection = setup.connection.clone();
            storm.spawn(async move {
                let mut stream = connection.open().await;
                let mut late = call("late", "wait", ["late"]);
                late["timeout"] = json!(round % 7);
                stream.write_line(call(round, "wait", ["storm"])).await;
                stream
                    .write_line(json!([
                        call("entry", "wait", ["storm"]),
                        call("blob", "blob", [9])
                    ]))
                    .await;
                stream.write_line(late).await;
                stream.write_line(notification("panic", json!([]))).await;
                match round % 4 {
                    0 => stream.reset(CANCELLED),
                    1 => stream.stop(CANCELLED),
                    2 => stream.write("{\"half\":").await,
                    _ => {
                        stream
                            .write([line(cancel(round)), line(cancel("entry"))].concat())
                            .await
                    }
                }
            });
        }
        soon(storm.join_all()).await;
        let mut stream = setup.stream().await;
        for _ in 0..9 {
            stream.write_line(call(1, "wait", ["after"])).await;
        }
        let mut after = 0;
        while after < 8 {
            after += u32::from(setup.event().await == Started("after".into()));
        }
        setup.connection.wait_until_processed().await;
        assert!(setup.events.try_recv().is_err());
    }
}

mod shutdown {
    use super::*;

    #[tokio::test]
    async fn shutdown_answers_running_calls_rejects_new_ones_and_closes() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        let shutdown = shut_down(&setup, &mut stream).await;

        let new = setup.connection.exchange(line(call(3, "echo", [3]))).await;
        assert_eq!(new, [error(3, -32003, "Shutting down")]);

        setup.open("gate");
        assert_eq!(stream.reply().await, result(1, "gate"));
        stream.has_ended().await;
        setup.connection.was_closed(SHUT_DOWN).await;
        assert!(soon(shutdown).await.unwrap());
    }

    #[tokio::test]
    async fn batch_during_shutdown_is_rejected() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        let shutdown = shut_down(&setup, &mut stream).await;
        stream
            .write_line(json!([call(3, "echo", [3]), call(4, "echo", [4])]))
            .await;
        let refused = json!([
            error(3, -32003, "Shutting down"),
            error(4, -32003, "Shutting down")
        ]);
        assert_eq!(stream.reply().await, refused);
        setup.open("gate");
        assert_eq!(stream.reply().await, result(1, "gate"));
        assert!(soon(shutdown).await.unwrap());
    }

    #[tokio::test]
    async fn shutdown_answers_pings_drops_notifications_and_refuses_connections() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        let shutdown = shut_down(&setup, &mut stream).await;

        stream.write_line(notification("note", ["late"])).await;
        stream.write_line(call(2, "rpc.ping", json!([]))).await;
        assert_eq!(stream.reply().await, result(2, Value::Null));
        assert!(setup.events.try_recv().is_err());
        match RawClient::new(&setup.server).try_dial().await {
            Err(ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(
                    close.error_code,
                    quinn::TransportErrorCode::CONNECTION_REFUSED
                );
            }
            other => panic!("{other:?}"),
        }
        stream.write_line(cancel(1)).await;
        assert_eq!(setup.event().await, Dropped("gate".into()));
        assert_eq!(stream.reply().await, error(1, -32001, "Cancelled"));
        stream.has_ended().await;
        assert!(soon(shutdown).await.unwrap());
    }

    #[tokio::test]
    async fn rejection_that_the_client_reads_late_arrives_before_the_close() {
        let mut setup = Setup::start().await;
        let connection = setup.connect_with_small_window().await;
        let mut unread = connection.open().await;
        unread.write_line(call(1, "late_blob", [60_000])).await;
        assert_eq!(setup.event().await, Started("blob".into()));
        let mut probe = connection.open().await;
        let shutdown = shut_down(&setup, &mut probe).await;

        // The server waits for the response to be read. Meanwhile it rejects a batch, and the rejection is larger than the
        // client's window.
        let calls: Vec<_> = (0..40).map(|id| call(id, "echo", [id])).collect();
        let mut late = connection.send(line(json!(calls))).await;
        connection.wait_until_processed().await;
        assert_eq!(unread.reply().await, result(1, "x".repeat(60_000)));
        unread.has_ended().await;
        connection.wait_until_processed().await;
        let rejected: Vec<_> = (0..40)
            .map(|id| error(id, -32003, "Shutting down"))
            .collect();
        assert_eq!(late.reply().await, json!(rejected));
        late.has_ended().await;
        connection.was_closed(SHUT_DOWN).await;
        assert!(soon(shutdown).await.unwrap());
    }

    #[tokio::test]
    async fn shutdown_past_its_limit_aborts_calls() {
        let mut setup = Setup::start().await;
        let mut stream = setup.stream().await;
        stream.write_line(call(1, "wait", ["gate"])).await;
        assert_eq!(setup.event().await, Started("gate".into()));
        assert!(!soon(setup.server.handle.shutdown(Duration::from_millis(10))).await);
        assert_eq!(setup.event().await, Dropped("gate".into()));
        setup.connection.was_closed(ABORTED).await;
    }

    /// Starts a shutdown, and waits until calls are rejected.
    async fn shut_down(setup: &Setup, stream: &mut RawStream) -> JoinHandle<bool> {
        let handle = setup.server.handle.clone();
        let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(20)).await });
        loop {
            stream.write_line(call("probe", "echo", [1])).await;
            match stream.reply().await {
                reply if reply == result("probe", 1) => {}
                reply => {
                    assert_eq!(reply, error("probe", -32003, "Shutting down"));
                    return shutdown;
                }
            }
        }
    }
}
