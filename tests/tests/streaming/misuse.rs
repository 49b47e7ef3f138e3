//! Streams of items in the hands of those who use them badly: nobody else suffers, and nothing is kept for ever.
#![allow(dead_code)] // of what it shares with other tests

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rpc_runtime::{CallError, Client, ErrorObject, Identity, Limits, Server, Trust, code, rpc};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::peer::{self, Host};
use crate::support::{serve, soon};

#[rpc]
trait Desk {
    /// For ever.
    fn numbers(&self) -> impl Stream<Item = u64>;
    fn count(&self, to: u64) -> impl Stream<Item = u64>;
    /// One, and then silence.
    fn one(&self) -> impl Stream<Item = u64>;
    async fn sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Looks for an item, does something else, and takes one.
    async fn busy(&self, items: impl Stream<Item = u64>) -> Option<u64>;
    /// Takes no item and waits for ever.
    async fn ignore(&self, items: impl Stream<Item = u64>);
    /// Drops its items and waits for ever.
    async fn drop_items(&self, items: impl Stream<Item = u64>);
    /// Waits for an item, but not for long.
    async fn impatient(&self, items: impl Stream<Item = u64>) -> Option<u64>;
    /// Forgets each item.
    async fn swallow(&self, items: impl Stream<Item = String>);
    /// Sums once the test opens the door.
    async fn late_sum(&self, items: impl Stream<Item = u64>) -> u64;
    /// Lets others have their turn before each.
    fn polite(&self) -> impl Stream<Item = u64>;
    fn big(&self) -> impl Stream<Item = String>;
    async fn misleads(&self) -> Result<u64, ErrorObject>;
    async fn blob(&self, size: usize) -> String;
    async fn add(&self, a: u64, b: u64) -> u64;
}

#[derive(Clone, Default)]
struct Clerk {
    looked: Arc<Notify>,
    door: Arc<Notify>,
    taken: Arc<AtomicUsize>,
}

impl Desk for Clerk {
    fn numbers(&self) -> impl Stream<Item = u64> {
        stream::iter(0..)
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(0..to)
    }

    fn one(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::pending())
    }

    async fn sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        let mut items = pin!(items);
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item;
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        sum
    }

    async fn busy(&self, items: impl Stream<Item = u64> + Send) -> Option<u64> {
        let mut items = pin!(items);
        if let Ok(item) = timeout(Duration::from_millis(1), items.next()).await {
            return item;
        }
        self.looked.notify_one();
        self.door.notified().await;
        items.next().await
    }

    async fn ignore(&self, items: impl Stream<Item = u64> + Send) {
        let _items = items;
        std::future::pending().await
    }

    async fn drop_items(&self, items: impl Stream<Item = u64> + Send) {
        {
            let mut items = pin!(items);
            items.next().await;
        }
        std::future::pending().await
    }

    async fn impatient(&self, items: impl Stream<Item = u64> + Send) -> Option<u64> {
        let mut items = pin!(items);
        timeout(Duration::from_millis(50), items.next())
            .await
            .ok()?
    }

    async fn swallow(&self, items: impl Stream<Item = String> + Send) {
        let mut items = pin!(items);
        while items.next().await.is_some() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn late_sum(&self, items: impl Stream<Item = u64> + Send) -> u64 {
        self.door.notified().await;
        self.sum(pin!(items)).await
    }

    fn polite(&self) -> impl Stream<Item = u64> {
        let taken = Arc::clone(&self.taken);
        stream::iter(0..).then(move |number| {
            let taken = Arc::clone(&taken);
            async move {
                tokio::task::yield_now().await;
                taken.fetch_add(1, Ordering::Relaxed);
                number
            }
        })
    }

    fn big(&self) -> impl Stream<Item = String> {
        stream::iter(0..).map(|_| "x".repeat(300_000))
    }

    async fn misleads(&self) -> Result<u64, ErrorObject> {
        Err(ErrorObject::new(code::STREAM_ENDED, "Stream ended"))
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

async fn desk(limits: Limits) -> (DeskClient, Clerk, rpc_runtime::ServerHandle) {
    let clerk = Clerk::default();
    let (client, server) = serve(DeskServer::new(clerk.clone()), limits).await;
    (DeskClient::new(client), clerk, server)
}

/// A server with two clients.
async fn two_desks(limits: Limits) -> [DeskClient; 2] {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(DeskServer::new(Clerk::default()))
        .limits(limits)
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run());
    let connect = async || {
        let client = Client::builder().trust(trust.clone()).reconnect(false);
        DeskClient::new(client.connect(address).await.unwrap())
    };
    [connect().await, connect().await]
}

async fn answers(desk: &DeskClient) {
    let sum = timeout(Duration::from_secs(5), desk.add(1, 2)).await;
    assert_eq!(sum.expect("nobody answers").unwrap(), 3);
}

#[tokio::test]
async fn an_item_that_comes_while_the_handler_does_something_else_is_not_lost() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let looked = Arc::clone(&clerk.looked);
    let items = stream::once(async move {
        looked.notified().await;
        7
    });
    let call = tokio::spawn({
        let desk = desk.clone();
        async move { desk.busy(items.chain(stream::pending())).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    clerk.door.notify_one();
    assert_eq!(soon(call).await.unwrap().unwrap(), Some(7));
}

#[tokio::test]
async fn streams_of_items_that_nobody_takes_leave_room_for_calls() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let mut stalled: Vec<_> = (0..12).map(|_| Box::pin(desk.numbers())).collect();
    for items in &mut stalled {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    answers(&desk).await;
}

#[tokio::test]
async fn uploads_that_nobody_takes_leave_room_for_calls() {
    let (desk, _, _server) = desk(Limits::default()).await;
    answers(&desk).await;
    let uploads: Vec<_> = (0..12)
        .map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.ignore(stream::iter(0..)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    answers(&desk).await;
    uploads.iter().for_each(|upload| upload.abort());
}

#[tokio::test]
async fn a_hundred_streams_of_items_leave_room_for_calls() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let mut streams: Vec<_> = (0..100).map(|_| Box::pin(desk.one())).collect();
    for items in &mut streams {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    }
    answers(&desk).await;
}

#[tokio::test]
async fn whoever_does_not_take_items_does_not_hold_the_places_of_others_for_ever() {
    let limits = Limits {
        calls: 4,
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let [slow, other] = two_desks(limits).await;
    answers(&other).await;
    let mut stalled: Vec<_> = (0..4).map(|_| Box::pin(slow.count(1_000_000))).collect();
    for items in &mut stalled {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    }
    answers(&other).await;
}

mod raw {
    use super::*;

    pub(super) struct Stream {
        pub(super) send: SendStream,
        pub(super) recv: RecvStream,
        received: Vec<u8>,
    }

    impl Stream {
        pub(super) async fn open(connection: &Connection, bytes: &str) -> Self {
            let (send, recv) = soon(connection.open_bi()).await.unwrap();
            let mut stream = Self {
                send,
                recv,
                received: Vec::new(),
            };
            stream.write(bytes).await;
            stream
        }

        pub(super) async fn write(&mut self, bytes: &str) {
            soon(self.send.write_all(bytes.as_bytes())).await.unwrap();
        }

        pub(super) async fn line(&mut self) -> Result<Value, String> {
            loop {
                if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.received.drain(..=end).collect();
                    return Ok(serde_json::from_slice(&line).unwrap());
                }
                match soon(self.recv.read_chunk(usize::MAX, true)).await {
                    Ok(Some(chunk)) => self.received.extend_from_slice(&chunk.bytes),
                    Ok(None) => return Err("the end".into()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
    }

    pub(super) fn call(id: u64, method: &str, params: &str) -> String {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
    }

    pub(super) fn host(limits: Limits) -> Host {
        Host::start(DeskServer::new(Clerk::default()), limits)
    }

    pub(super) async fn connect_with_little_room(host: &Host) -> Connection {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(1000));
        soon(host.dial("jsonrpc/1", transport)).await.unwrap()
    }
}

#[tokio::test]
async fn a_call_whose_time_is_over_gives_its_place_back() {
    let host = raw::host(Limits {
        calls: 1,
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    });
    let connection = raw::connect_with_little_room(&host).await;
    let request =
        r#"{"jsonrpc":"2.0","id":1,"method":"numbers","params":[],"timeout":100}"#.to_owned();
    let _unread = raw::Stream::open(&connection, &(request + "\n")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let other = host.connect().await;
    let mut stream = raw::Stream::open(&other, &raw::call(2, "add", "[1,2]")).await;
    let answer = timeout(Duration::from_secs(5), stream.line()).await;
    assert_eq!(answer.expect("the place is held").unwrap()["result"], 3);
}

#[tokio::test]
async fn a_handler_that_waits_no_longer_for_items_resets_nothing() {
    let host = raw::host(Limits::default());
    let connection = raw::connect_with_little_room(&host).await;
    let both = raw::call(1, "blob", "[100000]") + &raw::call(2, "impatient", "[]");
    let mut stream = raw::Stream::open(&connection, &both).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        stream.line().await.map(|line| line["id"].clone()),
        Ok(1.into())
    );
    assert_eq!(
        stream.line().await.map(|line| line["id"].clone()),
        Ok(2.into())
    );
}

#[tokio::test]
async fn replies_behind_items_are_not_kept_for_ever() {
    let host = raw::host(Limits {
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    });
    let connection = raw::connect_with_little_room(&host).await;
    let mut stream = raw::Stream::open(&connection, &raw::call(1, "count", "[1]")).await;
    stream.line().await.unwrap();
    assert_eq!(stream.line().await.unwrap()["id"], 1);
    stream.write(&raw::call(2, "blob", "[300000]")).await;
    let reset = timeout(Duration::from_secs(5), stream.recv.received_reset()).await;
    assert_eq!(
        reset.expect("it is kept").unwrap(),
        Some(VarInt::from_u32(0x14))
    );
}

#[tokio::test]
async fn an_upload_is_cancelled_on_its_own_stream() {
    let host = raw::host(Limits::default());
    let connection = host.connect().await;
    let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":[1]}\n";
    let sum = raw::call(1, "sum", "[]");
    let mut stream = raw::Stream::open(&connection, &(sum + cancel)).await;
    let answer = stream.line().await.unwrap();
    assert_eq!(answer["error"]["code"], -32001, "{answer}");
}

#[tokio::test]
async fn a_call_without_the_items_that_its_method_takes_harms_no_other() {
    let (client, _server) = serve(DeskServer::new(Clerk::default()), Limits::default()).await;
    let desk = DeskClient::new(client.clone());
    answers(&desk).await;
    let bare = tokio::spawn({
        let client = client.clone();
        async move { client.call::<u64, _>("sum", &()).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let others: Vec<_> = (0..10)
        .map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.add(1, 2).await })
        })
        .collect();
    println!("{:?}", soon(bare).await.unwrap());
    for other in others {
        assert_eq!(
            soon(other)
                .await
                .unwrap()
                .map_err(|error| error.to_string()),
            Ok(3)
        );
    }
}

#[tokio::test]
async fn a_handler_that_drops_its_items_stops_who_sends_them() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let (alive, mut gone) = mpsc::channel::<()>(1);
    let items = stream::iter(0..).then(move |item| {
        let alive = alive.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = &alive;
            item
        }
    });
    let call = tokio::spawn({
        let desk = desk.clone();
        async move { desk.drop_items(items).await }
    });
    let stopped = timeout(Duration::from_secs(3), gone.recv()).await;
    assert_eq!(stopped, Ok(None), "it still sends");
    call.abort();
}

#[test]
fn large_items_are_not_kept_when_they_are_taken() {
    const UPLOADS: usize = 32;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut streams = Vec::new();
    let measured = allocation_counter::measure(|| {
        let kept = runtime.block_on(async {
            let clerk = Clerk::default();
            let host = Host::start(DeskServer::new(clerk.clone()), Limits::default());
            let connection = host.connect().await;
            let item = |size: usize| {
                let item = "x".repeat(size);
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,\"{item}\"]}}\n"
                )
            };
            for upload in 1..=UPLOADS {
                let call = raw::call(1, "swallow", "[]");
                let mut stream = raw::Stream::open(&connection, &call).await;
                stream.write(&item(1_000_000)).await;
                stream.write(&item(1)).await;
                soon(async {
                    while clerk.taken.load(Ordering::Relaxed) < 2 * upload {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
                .await;
                streams.push(stream);
            }
            tokio::time::sleep(Duration::from_secs(4)).await;
            (host, connection)
        });
        streams.push(runtime.block_on(raw::Stream::open(&kept.1, "")));
        std::mem::forget(kept);
    });
    let each = measured.bytes_current / UPLOADS as i64;
    println!("{each} bytes each");
    assert!(each < 400_000, "{each} bytes each");
    std::mem::forget((streams, runtime));
}

#[tokio::test]
async fn a_handler_of_many_items_lets_others_have_their_turn() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let call = tokio::spawn({
        let desk = desk.clone();
        async move { desk.late_sum(stream::iter(0..100_000)).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    clerk.door.notify_one();
    let (mut before, mut most) = (0, 0);
    while !call.is_finished() {
        tokio::task::yield_now().await;
        let taken = clerk.taken.load(Ordering::Relaxed);
        most = most.max(taken - before);
        before = taken;
    }
    println!("{most} items at once");
    assert!(most <= 1000, "{most} items at once");
}

#[tokio::test]
async fn a_stream_that_yields_lets_others_have_their_turn() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let mut items = Box::pin(desk.polite());
    let reading = async {
        for _ in 0..50_000 {
            soon(items.next()).await.unwrap().unwrap();
        }
    };
    let most = AtomicUsize::new(0);
    let watching = async {
        let mut before = 0;
        loop {
            tokio::task::yield_now().await;
            let taken = clerk.taken.load(Ordering::Relaxed);
            most.fetch_max(taken - before, Ordering::Relaxed);
            before = taken;
        }
    };
    tokio::select! { () = reading => {}, () = watching => {} }
    let most = most.into_inner();
    println!("{most} items at once");
    assert!(most <= 1000);
}

#[tokio::test]
async fn a_timeout_ends_a_stream_whose_items_wait() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let mut items = Box::pin(desk.numbers().timeout(Duration::from_millis(100)));
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut more = 0;
    let error = loop {
        match soon(items.next()).await {
            Some(Ok(_)) => more += 1,
            other => break other,
        }
    };
    println!("{more} more, then {error:?}");
    assert!(matches!(error, Some(Err(CallError::Timeout))));
    assert!(more < 10, "{more} items after the time was over");
}

#[tokio::test]
async fn a_handlers_error_does_not_pass_for_the_end_of_a_stream() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let error = soon(desk.misleads()).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(_)), "{error:?}");
}

#[tokio::test]
async fn large_items_that_nobody_takes_leave_room_for_calls() {
    let host = Host::start(
        DeskServer::new(Clerk::default()),
        Limits {
            unsent_per_connection: 200_000,
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        },
    );
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1000));
    let connection = soon(host.dial("jsonrpc/1", transport)).await.unwrap();
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    send.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\",\"params\":[]}\n")
        .await
        .unwrap();
    soon(recv.read_chunk(10, true)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let add = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"add\",\"params\":[1,2]}\n";
    let answer = timeout(Duration::from_secs(5), peer::exchange(&connection, add)).await;
    assert_eq!(answer.expect("no call is started")[0]["result"], 3);
}

#[tokio::test]
async fn whoever_takes_one_item_of_each_stream_is_not_cut_off() {
    let (desk, _, _server) = desk(Limits::default()).await;
    for n in 0..3000 {
        let mut items = pin!(desk.numbers());
        let first = soon(items.next()).await.unwrap();
        assert!(matches!(first, Ok(0)), "stream {n}: {first:?}");
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_write_that_was_dropped() {
    let host = raw::host(Limits::default());
    let connection = raw::connect_with_little_room(&host).await;
    let both = raw::call(1, "blob", "[100000]") + &raw::call(2, "impatient", "[]");
    let mut stream = raw::Stream::open(&connection, &both).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    while stream.line().await.is_ok_and(|line| line["id"] != 2) {}
    let drained = host.handle.shutdown(Duration::from_secs(4));
    assert!(soon(drained).await, "it took all the time there was");
}
