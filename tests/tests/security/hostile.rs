//! What the other side cannot do, whatever it sends and whatever it withholds.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint, VarInt};
use rpc_runtime::{CallError, Client, Fate, Limits, rpc};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::peer::{Host, exchange, listen, soon};

/// The code of a stream that is given up.
const GIVEN_UP: VarInt = VarInt::from_u32(0x20);

/// A server of somebody else's that only grants streams, and a client of ours.
struct Stranger {
    client: Client,
    connection: Connection,
    _endpoint: Endpoint,
}

impl Stranger {
    async fn meet() -> Self {
        Self::granting(100, 100).await
    }

    /// A server that lets its clients open so many streams and send 64 KiB on each before it reads.
    async fn granting(bidirectional: u32, unidirectional: u32) -> Self {
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(bidirectional.into())
            .max_concurrent_uni_streams(unidirectional.into())
            .stream_receive_window(VarInt::from_u32(64 << 10));
        let (endpoint, trust) = listen(transport);
        let connecting = Client::builder()
            .trust(trust)
            .server_name("localhost")
            .lanes(1)
            .connect(endpoint.local_addr().unwrap());
        let accepting = async { endpoint.accept().await.unwrap().await };
        let (client, connection) = soon(async { tokio::join!(connecting, accepting) }).await;
        Self {
            client: client.unwrap(),
            connection: connection.unwrap(),
            _endpoint: endpoint,
        }
    }

    async fn send_more_than_is_taken(&self) {
        let text = "x".repeat(10_000);
        for _ in 0..10 {
            let note = self.client.notify("note", &[&text]);
            soon(note.into_future()).await.unwrap();
        }
    }
}

/// Reads whatever comes on bidirectional streams and answers nothing.
async fn swallow(connection: Connection) {
    let mut streams = JoinSet::new();
    while let Ok((send, mut recv)) = connection.accept_bi().await {
        streams.spawn(async move {
            while let Ok(Some(_)) = recv.read_chunk(usize::MAX, true).await {}
            drop(send);
        });
    }
}

#[tokio::test]
async fn callers_that_wait_for_room_go_on_when_their_stream_was_given_up() {
    let Stranger {
        client,
        connection,
        _endpoint,
    } = Stranger::meet().await;
    let mut notifications = JoinSet::new();
    // More than the client keeps and the stream takes together: some have to wait.
    for _ in 0..400 {
        notifications.spawn(client.notify("note", &["x".repeat(2000)]).into_future());
    }
    let (mut send, mut recv) = soon(connection.accept_bi()).await.unwrap();
    soon(recv.read_exact(&mut [0])).await.unwrap();
    send.reset(GIVEN_UP).unwrap();
    recv.stop(GIVEN_UP).unwrap();
    let others = tokio::spawn(swallow(connection));
    for ended in soon(notifications.join_all()).await {
        ended.unwrap();
    }
    others.abort();
}

#[tokio::test]
async fn a_client_can_be_closed_although_the_server_grants_no_streams() {
    let stranger = Stranger::granting(0, 0).await;
    stranger.client.notify("note", &[1]).await.unwrap();
    soon(stranger.client.close()).await;
    soon(stranger.connection.closed()).await;
}

#[tokio::test]
async fn a_client_can_be_closed_although_the_server_reads_nothing() {
    let stranger = Stranger::meet().await;
    stranger.send_more_than_is_taken().await;
    soon(stranger.client.close()).await;
    soon(stranger.connection.closed()).await;
}

#[tokio::test]
async fn a_dropped_client_goes_although_the_server_grants_no_streams() {
    let stranger = Stranger::granting(0, 0).await;
    stranger.client.notify("note", &[1]).await.unwrap();
    drop(stranger.client);
    soon(stranger.connection.closed()).await;
}

#[tokio::test]
async fn a_dropped_client_goes_although_the_server_reads_nothing() {
    let stranger = Stranger::meet().await;
    stranger.send_more_than_is_taken().await;
    drop(stranger.client);
    soon(stranger.connection.closed()).await;
}

#[tokio::test]
async fn a_call_whose_reply_was_cut_off_may_have_been_executed() {
    let whole = r#"{"jsonrpc":"2.0","id":0,"result":5}"#;
    for cut in [
        "{",
        r#"{"jsonrpc":"2.0","id":0,"#,
        &whole[..whole.len() - 1],
    ] {
        let stranger = Stranger::meet().await;
        let call = tokio::spawn(stranger.client.call::<i64, _>("five", &()));
        let (mut send, mut recv) = soon(stranger.connection.accept_bi()).await.unwrap();
        soon(recv.read_exact(&mut [0])).await.unwrap();
        send.write_all(cut.as_bytes()).await.unwrap();
        send.finish().unwrap();
        let ended = soon(call).await.unwrap().unwrap_err();
        let as_if_nothing_had_happened = matches!(
            ended,
            CallError::Connection {
                fate: Fate::NotExecuted | Fate::NotSent,
                ..
            }
        );
        assert!(!as_if_nothing_had_happened, "{cut}: {ended:?}");
    }
}

#[tokio::test]
async fn the_last_reply_needs_no_newline() {
    let stranger = Stranger::meet().await;
    let call = tokio::spawn(stranger.client.call::<i64, _>("five", &()));
    let (mut send, mut recv) = soon(stranger.connection.accept_bi()).await.unwrap();
    soon(recv.read_exact(&mut [0])).await.unwrap();
    let reply = r#"{"jsonrpc":"2.0","id":0,"result":5}"#;
    send.write_all(reply.as_bytes()).await.unwrap();
    send.finish().unwrap();
    assert_eq!(soon(call).await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn an_answer_to_nothing_that_was_asked_is_nobody_s() {
    let stranger = Stranger::meet().await;
    let call = tokio::spawn(stranger.client.call::<i64, _>("five", &()));
    let (mut send, mut recv) = soon(stranger.connection.accept_bi()).await.unwrap();
    soon(recv.read_exact(&mut [0])).await.unwrap();
    for id in [1, 63, 64, 1 << 26, 1 << 52, 1 << 58, 1 << 63, 0_u64] {
        let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{id}}}\n");
        send.write_all(reply.as_bytes()).await.unwrap();
    }
    assert_eq!(soon(call).await.unwrap().unwrap(), 0);
}

#[test]
fn cancellations_that_a_server_does_not_take_are_not_kept_for_ever() {
    const CANCELLED: usize = 50_000;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (client, _endpoint, _reading) = runtime.block_on(async {
        let stranger = Stranger::granting(100, 0).await;
        let reading = tokio::spawn(swallow(stranger.connection));
        (stranger.client, stranger._endpoint, reading)
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
                // What is queued leaves before more comes.
                let mut note = pin!(client.notify("note", &[1]).into_future());
                soon(note.as_mut()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    };
    cancel(1000);
    let kept = allocation_counter::measure(|| cancel(CANCELLED)).bytes_current;
    // Each says 70 bytes.
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

struct Sound;

impl Target for Sound {
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

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    /// From 0 up to `below`.
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    /// Messages, some of them damaged.
    fn messages(&mut self) -> Vec<u8> {
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
        for _ in 0..self.roll(12) {
            let mut message = SOUND[self.roll(SOUND.len())].as_bytes().to_vec();
            for _ in 0..[0, 0, 1, 3][self.roll(4)] {
                let at = self.roll(message.len());
                match self.roll(3) {
                    0 => message[at] = self.roll(256) as u8,
                    1 => drop(message.remove(at)),
                    _ => message.insert(at, b"{}[]\",:\\"[self.roll(8)]),
                }
            }
            bytes.extend(message);
            bytes.push(b'\n');
        }
        if self.roll(10) == 0 {
            bytes.resize(bytes.len() + 9000, b'x');
        }
        bytes
    }
}

/// Sends `bytes` up to `at`, and then does one of several things that a well-bred client does not do.
async fn misbehave(connection: Connection, bytes: Vec<u8>, at: usize, how: usize, one_way: bool) {
    if one_way {
        let mut send = soon(connection.open_uni()).await.unwrap();
        let _ = soon(send.write_all(&bytes[..at])).await;
        return match how {
            0 => drop(send.reset(GIVEN_UP)),
            _ => drop(send.finish()),
        };
    }
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let _ = soon(send.write_all(&bytes[..at])).await;
    for _ in 0..at % 4 {
        tokio::task::yield_now().await;
    }
    if matches!(how, 0 | 1) {
        let _ = send.reset(GIVEN_UP);
    }
    if how == 2 {
        let _ = send.finish();
    }
    if matches!(how, 1..=3) {
        let _ = recv.stop(GIVEN_UP);
        return;
    }
    if how > 3 {
        let _ = soon(send.write_all(&bytes[at..])).await;
        let _ = send.finish();
    }
    // Whatever it says, it ends.
    let _ = soon(recv.read_to_end(10_000_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_storm_of_garbage_and_of_streams_given_up_the_server_is_as_before() {
    let limits = Limits {
        request: 4000,
        reply: 5000,
        batch: 10,
        calls_per_connection: 8,
        // It would be closed for so many of them.
        cancellations: usize::MAX,
        ..Limits::default()
    };
    let host = Host::start(TargetServer::new(Sound), limits);
    let connection = host.connect().await;
    let mut dice = Dice(0x123_4567);
    let mut storm = JoinSet::new();
    let end = Instant::now() + Duration::from_secs(4);
    for _ in 0..4000 {
        if Instant::now() > end {
            break;
        }
        let bytes = dice.messages();
        let (at, how) = (dice.roll(bytes.len() + 1), dice.roll(6));
        let one_way = dice.roll(5) == 0;
        storm.spawn(misbehave(connection.clone(), bytes, at, how, one_way));
        while storm.len() > 60 {
            storm.join_next().await.unwrap().unwrap();
        }
    }
    soon(storm.join_all()).await;
    let call = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"params\":[1]}\n";
    let answered = json!({"jsonrpc": "2.0", "id": 1, "result": 1});
    assert_eq!(exchange(&connection, call).await, [answered]);
    let drained = soon(host.handle.shutdown(Duration::from_secs(5))).await;
    assert!(drained, "something still runs");
}

#[rpc]
trait Town {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    async fn hang(&self);
    async fn panic(&self);
}

/// How many calls hang, and how many did at most.
#[derive(Clone, Default)]
struct Walls(Arc<(AtomicUsize, AtomicUsize)>);

impl Walls {
    fn hanging(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

struct Hanging<'w>(&'w Walls);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Town for Walls {
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

/// A server, who attacks it and who only wants to be served, all on this thread, so that its memory can be counted.
struct Siege {
    runtime: Runtime,
    walls: Walls,
    host: Host,
    neighbour: Connection,
}

impl Siege {
    fn lay(limits: Limits) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let walls = Walls::default();
        let (host, neighbour) = runtime.block_on(async {
            let host = Host::start(TownServer::new(walls.clone()), limits);
            let neighbour = host.connect().await;
            (host, neighbour)
        });
        Self {
            runtime,
            walls,
            host,
            neighbour,
        }
    }

    /// How many bytes `attack` took at its height, and how many it left behind.
    fn count(&self, attack: impl AsyncFnOnce()) -> (i64, i64) {
        let counted = allocation_counter::measure(|| self.runtime.block_on(attack()));
        (counted.bytes_max as i64, counted.bytes_current)
    }

    async fn neighbour_is_served(&self) {
        let call = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":[1,2]}\n";
        let answered = json!({"jsonrpc": "2.0", "id": 1, "result": 3});
        assert_eq!(exchange(&self.neighbour, call).await, [answered]);
    }

    async fn hang(&self, calls: usize) {
        soon(async {
            while self.walls.hanging() != calls {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn town_call(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n")
}

#[test]
fn brackets_without_end_take_no_memory() {
    let siege = Siege::lay(Limits::default());
    let attacker = siege.runtime.block_on(siege.host.connect());
    let open = "[".repeat(100_000);
    let messages = [
        format!("{open}\n"),
        format!("{}\n", "{\"a\":".repeat(20_000)),
        town_call("add", &open),
        town_call("add", &format!("[{open}{}]", "]".repeat(100_000))),
    ];
    let attack = async || {
        for message in &messages {
            let replies = exchange(&attacker, message.as_bytes()).await;
            assert_eq!(replies[0]["error"]["code"], -32700);
        }
        siege.neighbour_is_served().await;
    };
    let ten_times = async || {
        for _ in 0..10 {
            attack().await;
        }
    };
    siege.count(ten_times);
    let (_, left) = siege.count(ten_times);
    // Less than a tenth of what was sent.
    assert!(left < 512 << 10, "{left} bytes");
}

#[test]
fn ten_thousand_calls_that_never_return_take_as_many_places_as_one_connection_has() {
    let siege = Siege::lay(Limits::default());
    let attacker = siege.runtime.block_on(siege.host.connect());
    let calls = town_call("hang", "[]").repeat(125);
    let attack = async || {
        let mut streams = Vec::new();
        for _ in 0..80 {
            let (mut send, recv) = soon(attacker.open_bi()).await.unwrap();
            soon(send.write_all(calls.as_bytes())).await.unwrap();
            streams.push((send, recv));
        }
        siege.hang(128).await;
        for _ in 0..10 {
            siege.neighbour_is_served().await;
        }
        drop(streams);
        siege.hang(0).await;
        siege.neighbour_is_served().await;
    };
    siege.count(attack);
    let (most, left) = siege.count(attack);
    assert_eq!(siege.walls.most(), 128);
    assert!(most < 16 << 20, "{most} bytes");
    assert!(left < 1 << 20, "{left} bytes");
}

fn streams_that_are_opened_and_reset(streams: usize) {
    let siege = Siege::lay(Limits {
        cancellations: usize::MAX,
        ..Limits::default()
    });
    let attacker = siege.runtime.block_on(siege.host.connect());
    let call = town_call("hang", "[]");
    let attack = async |streams: usize| {
        for number in 0..streams {
            let (mut send, _recv) = soon(attacker.open_bi()).await.unwrap();
            soon(send.write_all(call.as_bytes())).await.unwrap();
            if number % 3 == 0 {
                tokio::task::yield_now().await;
            }
            send.reset(GIVEN_UP).unwrap();
            if number % 1000 == 0 {
                siege.neighbour_is_served().await;
            }
        }
        siege.hang(0).await;
    };
    siege.count(async || attack(2000).await);
    let (_, left) = siege.count(async || attack(streams).await);
    assert!(siege.walls.most() <= 128, "{} calls", siege.walls.most());
    assert!(left < 1 << 20, "{left} bytes");
}

#[test]
fn streams_that_are_opened_and_reset_leave_nothing_behind() {
    streams_that_are_opened_and_reset(5000);
}

/// Takes minutes: `cargo test --release -p tests --test security a_million -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn a_million_streams_that_are_opened_and_reset_leave_nothing_behind() {
    streams_that_are_opened_and_reset(1_000_000);
}

#[test]
fn a_client_that_reads_nothing_takes_no_more_than_its_share() {
    let siege = Siege::lay(Limits::default());
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(1000_u32.into());
    let connecting = async { soon(siege.host.dial("jsonrpc/1", transport)).await };
    let attacker = siege.runtime.block_on(connecting).unwrap();
    let call = town_call("blob", "[1000000]");
    let attack = async || {
        let mut streams = Vec::new();
        for _ in 0..80 {
            let (mut send, recv) = soon(attacker.open_bi()).await.unwrap();
            soon(send.write_all(call.as_bytes())).await.unwrap();
            streams.push((send, recv));
            siege.neighbour_is_served().await;
        }
        drop(streams);
        // Its calls are taken again once nothing waits for it.
        let call = town_call("add", "[1,2]");
        let answered = json!({"jsonrpc": "2.0", "id": 1, "result": 3});
        assert_eq!(exchange(&attacker, call.as_bytes()).await, [answered]);
        siege.neighbour_is_served().await;
    };
    siege.count(attack);
    let (most, left) = siege.count(attack);
    assert!(most > 8 << 20, "{most} bytes: nothing was held back");
    assert!(most < 24 << 20, "{most} bytes");
    assert!(left < 1 << 20, "{left} bytes");
}

#[test]
fn handlers_that_panic_harm_nobody() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&"on purpose") {
            usual(panic);
        }
    }));
    let siege = Siege::lay(Limits::default());
    let attacker = siege.runtime.block_on(siege.host.connect());
    let calls = town_call("panic", "[]").repeat(100);
    let attack = async |rounds: usize| {
        for _ in 0..rounds {
            let replies = exchange(&attacker, calls.as_bytes()).await;
            assert_eq!(replies.len(), 100);
            for reply in replies {
                assert_eq!(reply["error"]["code"], -32603);
            }
            siege.neighbour_is_served().await;
        }
    };
    siege.count(async || attack(5).await);
    let (_, left) = siege.count(async || attack(100).await);
    assert!(left < 100_000, "{left} bytes");
}
