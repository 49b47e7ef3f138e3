//! The memory that a client holds for a hostile server, which is raw. Meanwhile the client serves another server.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use rpc_runtime::balance::Endpoints;
use rpc_runtime::{
    Call, CallError, Client, ConnectionState, ErrorObject, Execution, Limits, Trust, rpc,
};
use serde_json::{Value, json};
use tests::message::{call_line, error, item, line, notification, result};
use tests::peer::{RawClient, RawConnection, RawServer, RawStream};
use tests::support::{TestServer, current_thread, eventually, soon};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

#[rpc]
trait Store {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Makes a call to the caller, and reports its result to the test.
    async fn fetch(&self, cx: &rpc_runtime::Context) -> bool;
}

/// Reports the errors of calls to the caller to the test.
struct Shelf(mpsc::UnboundedSender<String>);

impl Store for Shelf {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn fetch(&self, cx: &rpc_runtime::Context) -> bool {
        let caller = cx.client::<Client>();
        let ended = caller.call::<String, _>("get", &()).await;
        self.0.send(ended.unwrap_err().to_string()).is_ok()
    }
}

/// The service of the client.
#[rpc]
trait Home {
    async fn hang(&self, text: &str);
}

struct Hanging;

impl Home for Hanging {
    async fn hang(&self, text: &str) {
        std::future::pending::<()>().await;
        drop(text.to_owned());
    }
}

const MIB: usize = 1 << 20;

/// The budget of a connection in these tests.
const BUDGET: usize = 4 * MIB;

/// The bytes beyond the budget that a connection may hold: those of one read on each stream, and the growth of a buffer.
const OVERSHOOT: usize = 4 * MIB;

/// A client of a hostile server and of an honest one.
struct Harness {
    client: Client,
    endpoints: Endpoints,
    hostile: RawConnection,
    honest: TestServer,
    _server: RawServer,
}

impl Harness {
    /// Connects to the hostile server alone, so that it gets the first calls.
    async fn start(streams: usize) -> Self {
        let server = RawServer::start();
        let honest = TestServer::start(
            StoreServer::new(Shelf(mpsc::unbounded_channel().0)),
            Limits::default(),
        );
        let builder = Client::builder()
            .trust(
                server
                    .trust()
                    .or(Trust::certificate(honest.certificate.clone())),
            )
            .server_name("localhost")
            .streams(streams)
            .service(HomeServer::new(Hanging))
            .limits(Limits {
                max_memory_bytes_per_connection: BUDGET,
                ..Limits::default()
            });
        let (client, endpoints) = builder.balanced().unwrap();
        endpoints.insert(server.address().into());
        let hostile = server.accept().await;
        Self {
            client,
            endpoints,
            hostile,
            honest,
            _server: server,
        }
    }

    fn held(&self) -> usize {
        self.client.memory_held()
    }

    fn is_bounded(&self) {
        let held = self.held();
        assert!(held < BUDGET + OVERSHOOT, "{held} bytes");
    }

    /// Checks that the connection is at its budget and does not exceed it.
    async fn is_at_budget(&self) {
        eventually(|| self.held() >= BUDGET).await;
        self.is_bounded();
    }

    /// Checks that the other server answers calls. The client does not choose a server with calls in flight for them.
    async fn other_server_is_reached(&self) {
        self.endpoints.insert(self.honest.address.into());
        eventually(|| {
            let servers = self.endpoints.list();
            servers
                .iter()
                .filter(|server| matches!(server.state(), ConnectionState::Connected))
                .count()
                == 2
        })
        .await;
        for _ in 0..5 {
            let sum = self.client.call::<i64, _>("add", &(1, 2));
            assert_eq!(soon(sum.into_future()).await.unwrap(), 3);
        }
        self.is_bounded();
    }

    fn get(&self) -> Get {
        self.client.call("get", &())
    }

    /// Makes calls on dedicated streams. Returns them with their streams and their ids.
    async fn calls_on_streams(&self, calls: usize) -> (Calls, Vec<(RawStream, u64)>) {
        let (mut running, mut streams) = (JoinSet::new(), Vec::new());
        for _ in 0..calls {
            running.spawn(self.get().dedicated_stream().into_future());
            let (stream, call) = self.hostile.accept_call().await;
            streams.push((stream, call["id"].as_u64().unwrap()));
        }
        (running, streams)
    }
}

type Get = Call<String, ErrorObject>;

type Calls = JoinSet<Result<String, CallError<ErrorObject>>>;

fn names_the_limit(error: &CallError<ErrorObject>) {
    let text = error.to_string();
    assert!(matches!(error, CallError::Decode(_)), "{error:?}");
    assert!(text.contains(&BUDGET.to_string()), "{text}");
    assert!(
        text.contains("`Limits::max_memory_bytes_per_connection`"),
        "{text}"
    );
}

/// Returns a result of this number of bytes without its end.
fn unfinished(id: u64, bytes: usize) -> String {
    let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"");
    head + &"x".repeat(bytes)
}

/// Sends `text` on each stream in a task, as far as it is read.
fn send_all(streams: impl IntoIterator<Item = (RawStream, String)>) -> JoinSet<RawStream> {
    let mut sending = JoinSet::new();
    for (mut stream, text) in streams {
        sending.spawn(async move {
            let _ = stream.send.write_all(text.as_bytes()).await;
            stream
        });
    }
    sending
}

/// Polls calls once, so that they are sent.
async fn poll_once(calls: &mut [Pin<Box<Get>>]) {
    poll_fn(|cx| {
        for call in &mut *calls {
            assert!(call.as_mut().poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn unfinished_replies_past_the_budget_fail_at_their_callers() {
    let harness = Harness::start(1).await;
    let (mut calls, streams) = harness.calls_on_streams(8).await;
    let replies = streams.into_iter();
    let _sending = send_all(replies.map(|(stream, id)| (stream, unfinished(id, 900_000))));
    harness.is_at_budget().await;
    harness.other_server_is_reached().await;
    let failed = soon(calls.join_next()).await.unwrap().unwrap();
    names_the_limit(&failed.unwrap_err());
    harness.is_bounded();
    calls.abort_all();
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn replies_that_arrive_in_turns_all_arrive_although_their_parts_use_up_the_budget() {
    let harness = Harness::start(1).await;
    let (mut calls, streams) = harness.calls_on_streams(20).await;
    // The server is honest, and sends a packet of each reply in turn.
    let replies = streams.into_iter();
    let _sending =
        send_all(replies.map(|(stream, id)| (stream, line(result(id, "x".repeat(500_000))))));
    while let Some(ended) = soon(calls.join_next()).await {
        assert_eq!(ended.unwrap().unwrap().len(), 500_000);
    }
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn items_that_arrive_in_turns_all_arrive_although_their_parts_use_up_the_budget() {
    let harness = Harness::start(1).await;
    let (mut streams, mut sent) = (JoinSet::new(), Vec::new());
    // Together they fit into the connection's receive window and the budget. Beyond that, the unread packets of other
    // streams keep the server from sending the rest of the item that has the turn.
    for _ in 0..12 {
        let items = harness.client.items::<String, _>("items", &());
        streams.spawn(items.take(2).collect::<Vec<_>>());
        let (stream, call) = harness.hostile.accept_call().await;
        let many = line(item(call["id"].clone(), "x".repeat(400_000))).repeat(2);
        sent.push((stream, many));
    }
    let _sending = send_all(sent);
    while let Some(items) = soon(streams.join_next()).await {
        for item in items.unwrap() {
            assert_eq!(item.unwrap().len(), 400_000);
        }
    }
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn reply_of_many_values_is_decoded_while_a_handler_keeps_a_large_message() {
    let harness = Harness::start(1).await;
    let hang = call_line(1, "hang", &format!("[\"{}\"]", "x".repeat(100_000)));
    let _hanging = harness.hostile.send(&hang).await;
    eventually(|| harness.held() >= 100_000).await;
    let call = harness.client.call::<Vec<u8>, _>("get", &());
    let call = tokio::spawn(call.dedicated_stream().into_future());
    let (mut stream, called) = harness.hostile.accept_call().await;
    // Its values take more than the budget.
    stream
        .write_line(result(called["id"].clone(), vec![0; 400_000]))
        .await;
    assert_eq!(soon(call).await.unwrap().unwrap().len(), 400_000);
}

#[tokio::test]
async fn unfinished_reply_on_a_shared_stream_fails_at_its_caller_and_the_stream_goes_on() {
    let harness = Harness::start(1).await;
    // Other replies, on dedicated streams, hold less of the budget, and are discarded later.
    let (_calls, streams) = harness.calls_on_streams(3).await;
    let sending = send_all(
        streams
            .into_iter()
            .map(|(stream, id)| (stream, unfinished(id, 600_000))),
    );
    // A stream that is dropped ends, and its reply with it.
    let _unfinished = sending.join_all().await;
    let (first, second) = (harness.get(), harness.get());
    let [first, second] = [first, second].map(|call| tokio::spawn(call.into_future()));
    let (mut shared, call) = harness.hostile.accept_call().await;
    let other_call = shared.reply().await;
    let mut large = unfinished(call["id"].as_u64().unwrap(), 3_500_000);
    large.push_str("\"}\n");
    let mut writing = send_all([(shared, large)]);
    harness.is_at_budget().await;
    let failed = soon(first).await.unwrap().unwrap_err();
    names_the_limit(&failed);
    let mut shared = soon(writing.join_next()).await.unwrap().unwrap();
    // The slot of the call that has failed is used again, with its id.
    let third = tokio::spawn(harness.get().into_future());
    let third_call = shared.reply().await;
    for call in [other_call, third_call] {
        shared.write_line(result(call["id"].clone(), "five")).await;
    }
    assert_eq!(soon(second).await.unwrap().unwrap(), "five");
    assert_eq!(soon(third).await.unwrap().unwrap(), "five");
}

#[tokio::test]
async fn lines_without_an_end_that_answer_no_call_are_bounded_and_their_streams_go_on() {
    let harness = Harness::start(8).await;
    let mut calls = JoinSet::new();
    let mut lines = Vec::new();
    for _ in 0..8 {
        calls.spawn(harness.get().into_future());
        let (stream, call) = harness.hostile.accept_call().await;
        // No call has this id.
        let mut text = unfinished(1 << 50, 1_500_000);
        text.push_str("\"}\n");
        text.push_str(&line(result(call["id"].clone(), "five")));
        lines.push((stream, text));
    }
    let _sending = send_all(lines);
    harness.is_at_budget().await;
    harness.other_server_is_reached().await;
    while let Some(ended) = soon(calls.join_next()).await {
        assert_eq!(ended.unwrap().unwrap(), "five");
        harness.is_bounded();
    }
}

#[tokio::test]
async fn reply_past_its_limit_without_an_end_fails_at_once_and_is_not_held() {
    let harness = Harness::start(1).await;
    let first = tokio::spawn(harness.get().into_future());
    let (stream, call) = harness.hostile.accept_call().await;
    let id = call["id"].as_u64().unwrap();
    let _writing = send_all([(stream, unfinished(id, 5 * MIB))]);
    let failed = soon(first).await.unwrap().unwrap_err();
    assert!(matches!(failed, CallError::Decode(_)), "{failed:?}");
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn replies_that_their_callers_do_not_take_are_bounded() {
    let harness = Harness::start(1).await;
    let mut calls: Vec<_> = (0..12).map(|_| Box::pin(harness.get())).collect();
    poll_once(&mut calls).await;
    let mut shared = harness.hostile.accept().await;
    let mut replies = String::new();
    for _ in 0..12 {
        let call = shared.reply().await;
        replies += &line(result(call["id"].clone(), "x".repeat(900_000)));
    }
    let _writing = send_all([(shared, replies)]);
    harness.is_at_budget().await;
    harness.other_server_is_reached().await;
    // Each reply that its caller takes frees memory for other replies.
    let mut taken = 0;
    for ended in soon(join_all(calls)).await {
        match ended {
            Ok(text) => {
                assert_eq!(text.len(), 900_000);
                taken += 1;
            }
            Err(late) => names_the_limit(&late),
        }
    }
    assert!(taken >= 3, "{taken} replies");
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn cancelled_call_releases_a_reply_that_it_did_not_take() {
    let harness = Harness::start(1).await;
    let mut calls = vec![Box::pin(harness.get())];
    poll_once(&mut calls).await;
    let (mut shared, call) = harness.hostile.accept_call().await;
    let reply = result(call["id"].clone(), "x".repeat(900_000));
    shared.write_line(reply).await;
    eventually(|| harness.held() >= 900_000).await;
    drop(calls);
    eventually(|| harness.held() < MIB / 2).await;
}

#[tokio::test]
async fn items_that_are_not_taken_are_bounded() {
    let harness = Harness::start(1).await;
    let mut streams = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..24 {
        let mut items = Box::pin(harness.client.items::<String, _>("items", &()));
        let polled = poll_fn(|cx| Poll::Ready(items.poll_next_unpin(cx))).await;
        assert!(polled.is_pending());
        // Polled again, as it waits for its stream.
        let opened = harness.hostile.accept_call();
        let (stream, call) = tokio::select! {
            opened = opened => opened,
            _ = items.next() => panic!("there are no items yet"),
        };
        let many = line(item(call["id"].clone(), "x".repeat(20_000))).repeat(75);
        sent.push((stream, many));
        streams.push(items);
    }
    let _sending = send_all(sent);
    // The windows of streams that may stay unread are counted, and are not enlarged beyond the budget.
    eventually(|| harness.held() >= BUDGET / 2).await;
    harness.other_server_is_reached().await;
    // Each stream continues when the other streams are read.
    let read = streams.into_iter().map(|items| {
        items.take(75).for_each(async |item| {
            assert_eq!(item.unwrap().len(), 20_000);
            harness.is_bounded();
        })
    });
    soon(join_all(read)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_many_values_are_decoded_one_at_a_time_past_the_budget() {
    let harness = Harness::start(1).await;
    let mut calls = JoinSet::new();
    let mut replies = Vec::new();
    let zeros = format!("[{}0]", "0,".repeat(200_000));
    for _ in 0..6 {
        let call = harness
            .client
            .call::<Vec<u8>, _>("get", &())
            .dedicated_stream();
        calls.spawn(call.into_future());
        let (stream, call) = harness.hostile.accept_call().await;
        let id = &call["id"];
        let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{zeros}}}\n");
        replies.push((stream, reply));
    }
    let _sending = send_all(replies);
    while let Some(ended) = soon(calls.join_next()).await {
        assert_eq!(ended.unwrap().unwrap().len(), 200_001);
    }
    eventually(|| harness.held() < MIB).await;
}

#[tokio::test]
async fn errors_with_large_data_leave_no_memory() {
    let harness = Harness::start(1).await;
    for _ in 0..8 {
        let call = tokio::spawn(harness.get().dedicated_stream().into_future());
        let (mut stream, called) = harness.hostile.accept_call().await;
        let mut reply = error(called["id"].clone(), 5, "no");
        reply["error"]["data"] = json!(vec!["x".repeat(1000); 900]);
        stream.write_line(reply).await;
        match soon(call).await.unwrap() {
            Err(CallError::Application(error)) => assert_eq!(error.code(), 5),
            other => panic!("{other:?}"),
        }
    }
    eventually(|| harness.held() < MIB / 2).await;
}

#[tokio::test]
async fn reason_of_a_shutdown_is_truncated() {
    let harness = Harness::start(1).await;
    let call = harness.get().no_retry().dedicated_stream();
    let call = tokio::spawn(call.into_future());
    let (mut stream, called) = harness.hostile.accept_call().await;
    let text = "\u{202e}".repeat(100_000);
    stream
        .write_line(error(called["id"].clone(), -32003, &text))
        .await;
    match soon(call).await.unwrap() {
        Err(CallError::Connection {
            execution, reason, ..
        }) => {
            assert_eq!(execution, Execution::NotExecuted);
            assert!(reason.to_string().len() < 300, "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn calls_of_the_server_and_replies_to_the_client_share_a_budget() {
    let harness = Harness::start(1).await;
    let text = "x".repeat(800_000);
    let hang = call_line(1, "hang", &format!("[\"{text}\"]"));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(harness.hostile.send(&hang).await);
    }
    eventually(|| harness.held() >= 3 * 800_000).await;
    let (mut calls, streams) = harness.calls_on_streams(4).await;
    let replies = streams.into_iter();
    let _sending = send_all(replies.map(|(stream, id)| (stream, unfinished(id, 900_000))));
    harness.is_at_budget().await;
    harness.other_server_is_reached().await;
    let failed = soon(calls.join_next()).await.unwrap().unwrap();
    names_the_limit(&failed.unwrap_err());
    harness.is_bounded();
}

#[tokio::test]
async fn unread_replies_notifications_and_datagrams_of_a_serving_client_are_bounded() {
    let harness = Harness::start(1).await;
    let many = line(json!({"jsonrpc": "2.0", "id": 1, "method": "none"})).repeat(50_000);
    let notes = line(notification("none", ["x".repeat(100)])).repeat(20_000);
    let mut streams = Vec::new();
    for text in [&many, &notes].into_iter().cycle().take(16) {
        streams.push((harness.hostile.open().await, text.clone()));
    }
    let _sending = send_all(streams);
    for _ in 0..2000 {
        let note = line(notification("none", ["x".repeat(1000)]));
        harness.hostile.send_datagram(note.into()).unwrap();
    }
    let (mut stream, call) = {
        let _call = tokio::spawn(harness.get().dedicated_stream().into_future());
        harness.hostile.accept_call().await
    };
    harness.other_server_is_reached().await;
    stream.write_line(result(call["id"].clone(), "five")).await;
    harness.is_bounded();
}

#[test]
fn buffers_of_medium_replies_are_kept_within_bounds() {
    let runtime = current_thread();
    let (harness, mut shared) = runtime.block_on(async {
        let harness = Harness::start(1).await;
        let call = tokio::spawn(harness.get().into_future());
        let (mut shared, first) = harness.hostile.accept_call().await;
        shared.write_line(result(first["id"].clone(), "")).await;
        soon(call).await.unwrap().unwrap();
        (harness, shared)
    });
    let burst = async |size: usize, shared: &mut RawStream| {
        let mut calls = JoinSet::new();
        (0..600).for_each(|_| drop(calls.spawn(harness.get().into_future())));
        let mut replies = String::new();
        for _ in 0..600 {
            let call = shared.reply().await;
            replies += &line(result(call["id"].clone(), "x".repeat(size)));
        }
        shared.write(replies).await;
        while let Some(ended) = soon(calls.join_next()).await {
            assert_eq!(ended.unwrap().unwrap().len(), size);
        }
    };
    runtime.block_on(burst(10, &mut shared));
    let kept = allocation_counter::measure(|| runtime.block_on(burst(15_000, &mut shared)));
    assert!(kept.bytes_current < 3 << 20, "{}", kept.bytes_current);
}

#[tokio::test]
async fn unfinished_replies_of_a_client_to_its_server_are_bounded() {
    let (errors, mut told) = mpsc::unbounded_channel();
    let limits = Limits {
        max_memory_bytes_per_connection: BUDGET,
        ..Limits::default()
    };
    let server = TestServer::start(StoreServer::new(Shelf(errors)), limits);
    let hostile = RawClient::connect(&server).await;
    let mut calls = hostile.open().await;
    calls.write(call_line(1, "fetch", "[]")).await;
    let mut shared = hostile.accept().await;
    let call: Value = shared.reply().await;
    let id = call["id"].as_u64().unwrap();
    // These take most of the budget.
    let text = unfinished(2, 900_000);
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push((hostile.open().await, text.clone()));
    }
    let _sending = send_all(others);
    let _replying = send_all([(shared, unfinished(id, 3_900_000))]);
    eventually(|| server.handle.memory_held() >= BUDGET).await;
    let told = soon(told.recv()).await.unwrap();
    assert!(
        told.contains("`Limits::max_memory_bytes_per_connection`"),
        "{told}"
    );
    let held = server.handle.memory_held();
    assert!(held < BUDGET + OVERSHOOT, "{held} bytes");
    tokio::time::timeout(Duration::from_secs(60), calls.reply())
        .await
        .unwrap();
}
