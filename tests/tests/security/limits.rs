//! What a server takes, driven to the edge of each limit and past it. The clients are outsiders.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use quinn::ConnectionError;
use rpc_runtime::{Limits, rpc};
use serde_json::{Value, json};
use tests::message::{call_line as call, cancel, line, result};
use tests::peer::{
    ABORTED, CANCELLED, EXCESSIVE_LOAD, RawClient, RawConnection, RawStream, TIMED_OUT,
};
use tests::support::{TestServer, current_thread, eventually, soon};
use tokio::net::UdpSocket;
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinHandle;

#[rpc]
trait Stage {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    async fn wait(&self);
    /// Answers with the text once so many are here.
    async fn meet(&self, text: &str) -> String;
}

/// How many calls [`Stage::meet`] waits for.
const CROWD: usize = 128;

#[derive(Clone)]
struct Actor {
    started: Arc<AtomicUsize>,
    crowd: Arc<Barrier>,
}

impl Default for Actor {
    fn default() -> Self {
        Self {
            started: Arc::default(),
            crowd: Arc::new(Barrier::new(CROWD)),
        }
    }
}

impl Actor {
    /// How many calls were started.
    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn start(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }
}

impl Stage for Actor {
    async fn add(&self, a: i64, b: i64) -> i64 {
        self.start();
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        self.start();
        "x".repeat(size)
    }

    async fn wait(&self) {
        self.start();
        std::future::pending().await
    }

    async fn meet(&self, text: &str) -> String {
        self.start();
        self.crowd.wait().await;
        text.to_owned()
    }
}

const HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const ABROAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server on loopback.
struct House {
    server: TestServer,
    actor: Actor,
}

impl House {
    fn open(limits: Limits) -> Self {
        let actor = Actor::default();
        let server = TestServer::start(StageServer::new(actor.clone()), limits);
        Self { server, actor }
    }

    /// A client that does not wait long before it sends a packet again.
    fn client(&self) -> RawClient {
        let mut transport = quinn::TransportConfig::default();
        transport.initial_rtt(Duration::from_millis(10));
        RawClient::new(&self.server).transport(transport)
    }

    /// A connection from a socket at `ip`.
    async fn connect_from(&self, ip: Ipv4Addr) -> Result<RawConnection, ConnectionError> {
        self.client().from(ip).try_dial().await
    }

    async fn connect_with_small_window(&self) -> RawConnection {
        RawClient::connect_with_small_window(&self.server).await
    }

    async fn has_started(&self, calls: usize) {
        eventually(|| self.actor.started() >= calls).await;
    }

    /// What a client starts with.
    async fn first_packet(&self) -> Vec<u8> {
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let client = self.client();
        let _connecting = client.connecting_to(hole.local_addr().unwrap(), &client.endpoint());
        let mut packet = vec![0; 1500];
        let length = soon(hole.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packet
    }

    /// A client from `ip` comes in as soon as there is a place again.
    async fn lets_in(&self, ip: Ipv4Addr) -> RawConnection {
        soon(async {
            loop {
                match self.connect_from(ip).await {
                    Ok(guest) => return guest,
                    Err(refused) => assert_refused(refused),
                }
            }
        })
        .await
    }
}

async fn is_served(connection: &RawConnection) {
    let replies = connection.exchange(call(1, "add", "[1,2]")).await;
    assert_eq!(replies, [result(1, 3)]);
}

/// The server wants no more requests of it and sends no more replies.
async fn was_given_up(stream: &mut RawStream) {
    stream.was_reset(TIMED_OUT).await;
    assert_eq!(stream.stop_code().await, Some(TIMED_OUT));
}

/// QUIC's CONNECTION_REFUSED.
fn assert_refused(error: ConnectionError) {
    let ConnectionError::ConnectionClosed(close) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        close.error_code,
        quinn::TransportErrorCode::CONNECTION_REFUSED
    );
}

/// A client that never gets further than its first packets: what it sends, again and again, reaches the server, and
/// what the server answers stays here.
struct Stuck {
    socket: Arc<UdpSocket>,
    sending: JoinHandle<()>,
    _connecting: quinn::Connecting,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Handshake,
    Retry,
    VersionNegotiation,
}

impl Stuck {
    async fn start(house: &House) -> Self {
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let socket = Arc::new(UdpSocket::bind((HOME, 0)).await.unwrap());
        socket.connect(house.server.address).await.unwrap();
        let client = house.client();
        let connecting = client.connecting_to(hole.local_addr().unwrap(), &client.endpoint());
        let server = Arc::clone(&socket);
        let sending = tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok(length) = hole.recv(&mut packet).await {
                let _ = server.send(&packet[..length]).await;
            }
        });
        Self {
            socket,
            sending,
            _connecting: connecting,
        }
    }

    async fn answer(&self) -> Answer {
        answer(&self.socket).await
    }
}

/// What the server sent next.
async fn answer(socket: &UdpSocket) -> Answer {
    let mut packet = [0; 1500];
    let length = soon(socket.recv(&mut packet)).await.unwrap();
    match (&packet[1..5], packet[0] & 0x30) {
        ([0, 0, 0, 0], _) => Answer::VersionNegotiation,
        (_, 0x30) => Answer::Retry,
        (_, 0x00) => Answer::Handshake,
        other => panic!("{length} bytes: {other:?}"),
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

mod connections {
    use super::*;

    #[tokio::test]
    async fn connections_of_an_address_past_the_limit_are_refused_until_one_closes() {
        let house = House::open(Limits {
            connections_per_address: 3,
            ..Limits::default()
        });
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(house.connect_from(HOME).await.unwrap());
        }
        for _ in 0..3 {
            assert_refused(house.connect_from(HOME).await.err().unwrap());
        }
        for guest in &guests {
            is_served(guest).await;
        }
        is_served(&house.connect_from(ABROAD).await.unwrap()).await;
        guests.pop().unwrap().close(0u32.into(), b"");
        is_served(&house.lets_in(HOME).await).await;
    }

    #[tokio::test]
    async fn connections_of_all_addresses_past_the_limit_are_refused_until_one_closes() {
        let house = House::open(Limits {
            connections: 2,
            ..Limits::default()
        });
        let first = house.connect_from(HOME).await.unwrap();
        let second = house.connect_from(ABROAD).await.unwrap();
        assert_refused(house.connect_from(HOME).await.err().unwrap());
        assert_refused(house.connect_from(ABROAD).await.err().unwrap());
        is_served(&first).await;
        second.close(0u32.into(), b"");
        is_served(&house.lets_in(HOME).await).await;
    }

    #[tokio::test]
    async fn lost_connection_no_longer_counts() {
        let house = House::open(Limits {
            connections: 1,
            idle_timeout: Duration::from_millis(50),
            ..Limits::default()
        });
        let silent = house.connect_from(HOME).await.unwrap();
        let lost = soon(silent.closed()).await;
        assert_eq!(lost, ConnectionError::TimedOut);
        house.lets_in(HOME).await;
    }

    #[tokio::test]
    async fn many_connections_of_one_address_do_not_exclude_another() {
        let house = House::open(Limits::default());
        let client = house.client();
        let endpoint = client.endpoint();
        let mut crowd: Vec<_> = (0..200)
            .map(|_| Box::pin(client.connecting(&endpoint)))
            .collect();
        let mut connected = Vec::new();
        soon(poll_fn(|cx| {
            crowd.retain_mut(|connecting| match connecting.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(connection)) => {
                    connected.push(connection);
                    false
                }
                Poll::Ready(Err(refused)) => {
                    assert_refused(refused);
                    false
                }
            });
            match crowd.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }))
        .await;
        assert_eq!(connected.len(), 64);
        is_served(&house.connect_from(ABROAD).await.unwrap()).await;
    }
}

mod handshakes {
    use super::*;

    #[tokio::test]
    async fn handshake_past_the_limit_of_unproven_ones_gets_a_retry() {
        let house = House::open(Limits {
            unproven_handshakes: 1,
            ..Limits::default()
        });
        let first = Stuck::start(&house).await;
        assert_eq!(first.answer().await, Answer::Handshake);
        let second = Stuck::start(&house).await;
        assert_eq!(second.answer().await, Answer::Retry);
        // Who hears the answer comes in.
        is_served(&house.connect_from(HOME).await.unwrap()).await;
    }

    #[tokio::test]
    async fn handshake_past_the_limit_is_ignored() {
        let house = House::open(Limits {
            handshakes: 2,
            ..Limits::default()
        });
        let going_on = [Stuck::start(&house).await, Stuck::start(&house).await];
        for stuck in &going_on {
            assert_eq!(stuck.answer().await, Answer::Handshake);
        }
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let packet = house.first_packet().await;
        hole.send_to(&packet, house.server.address).await.unwrap();
        // A packet of a version that nobody knows is answered at once.
        let mut unknown = [0; 1200];
        unknown[..7].copy_from_slice(&[0xc0, 0xfa, 0xce, 0xb0, 0x0c, 0, 0]);
        for _ in 0..20 {
            hole.send_to(&unknown, house.server.address).await.unwrap();
            assert_eq!(answer(&hole).await, Answer::VersionNegotiation);
        }
    }

    #[tokio::test]
    async fn handshake_past_its_timeout_is_dropped_although_packets_arrive() {
        let house = House::open(Limits {
            handshakes: 1,
            handshake_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let stuck = Stuck::start(&house).await;
        assert_eq!(stuck.answer().await, Answer::Handshake);
        // Ignored at first; it comes again by itself.
        is_served(&house.connect_from(HOME).await.unwrap()).await;
    }

    #[tokio::test]
    async fn damaged_packets_harm_no_connection() {
        let house = House::open(Limits::default());
        let guest = house.connect_from(HOME).await.unwrap();
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let packet = house.first_packet().await;
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 1 << (at % 8);
            hole.send_to(&damaged, house.server.address).await.unwrap();
            hole.send_to(&packet[..at], house.server.address)
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        is_served(&guest).await;
        is_served(&house.connect_from(ABROAD).await.unwrap()).await;
    }
}

mod slow_senders {
    use super::*;

    /// Long enough for whatever is sent in one piece.
    const SHORT: Duration = Duration::from_millis(300);

    fn short_of_patience() -> Limits {
        Limits {
            message_timeout: SHORT,
            ..Limits::default()
        }
    }

    #[tokio::test]
    async fn incomplete_message_times_out() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send("{\"jsonrpc\":").await;
        was_given_up(&mut stream).await;
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn incomplete_message_that_grows_times_out() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        // The first is whole; the second has one byte more again and again.
        let mut stream = guest.send(call(1, "add", "[1,2]") + "{").await;
        assert_eq!(stream.reply().await, result(1, 3));
        while soon(stream.send.write_all(b" ")).await.is_ok() {
            is_served(&guest).await;
        }
        was_given_up(&mut stream).await;
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn oversized_message_without_end_times_out() {
        let house = House::open(Limits {
            request: 10,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send([b'x'; 100]).await;
        was_given_up(&mut stream).await;
    }

    #[tokio::test]
    async fn stream_between_messages_does_not_time_out() {
        let house = House::open(Limits {
            message_timeout: Duration::from_secs(2),
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        // The server has waited on one of them in the middle of a message.
        let whole = call(1, "add", "[1,2]");
        let mut streams = [guest.send(&whole[..20]).await, guest.send(&whole).await];
        is_served(&guest).await;
        streams[0].write(&whole[20..]).await;
        for stream in &mut streams {
            assert_eq!(stream.reply().await, result(1, 3));
        }
        // A blank line is nothing, also when it comes in pieces.
        streams[1].write(" ").await;
        is_served(&guest).await;
        streams[1].write("\n").await;
        // This takes longer than the others may take.
        was_given_up(&mut guest.send("{").await).await;
        for stream in &mut streams {
            stream.write(&whole[..20]).await;
            is_served(&guest).await;
            stream.write(&whole[20..]).await;
            assert_eq!(stream.reply().await, result(1, 3));
        }
    }

    #[tokio::test]
    async fn stream_without_a_first_byte_times_out() {
        let house = House::open(Limits {
            first_byte_timeout: SHORT,
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        // It is there for the server as soon as the next one is.
        let mut silent = guest.send("").await;
        is_served(&guest).await;
        was_given_up(&mut silent).await;
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn incomplete_message_on_a_unidirectional_stream_times_out() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut send = soon(guest.open_uni()).await.unwrap();
        send.write_all(b"{").await.unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(TIMED_OUT));
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn timed_out_stream_cancels_its_calls() {
        let house = House::open(Limits {
            calls_per_connection: 1,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send(call(1, "wait", "[]") + "{").await;
        was_given_up(&mut stream).await;
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn connection_with_too_many_timed_out_streams_is_closed() {
        let house = House::open(Limits {
            late_messages: 3,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        for _ in 0..3 {
            was_given_up(&mut guest.send("{").await).await;
            is_served(&guest).await;
        }
        let _late = guest.send("{").await;
        guest.was_closed(EXCESSIVE_LOAD).await;
    }
}

mod slow_readers {
    use super::*;

    #[tokio::test]
    async fn unread_responses_time_out() {
        let house = House::open(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_small_window().await;
        let mut unread = guest.send(call(1, "blob", "[300000]")).await;
        is_served(&guest).await;
        assert_eq!(unread.reset_code().await, Some(TIMED_OUT));
        is_served(&guest).await;
    }

    #[tokio::test]
    async fn drain_after_a_write_timeout_closes_as_aborted() {
        let house = House::open(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_small_window().await;
        let mut unread = guest.send(call(1, "blob", "[300000]")).await;
        is_served(&guest).await;
        unread.reset_code().await;
        assert!(soon(house.server.handle.shutdown(Duration::from_secs(20))).await);
        guest.was_closed(ABORTED).await;
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_unsent_bytes_wait() {
        let house = House::open(Limits {
            unsent_per_connection: 200_000,
            ..Limits::default()
        });
        let guest = house.connect_with_small_window().await;
        let mut few = guest.send(call(1, "blob", "[100000]")).await;
        house.has_started(1).await;
        guest.settle().await;
        is_served(&guest).await;
        let mut many = guest.send(call(1, "blob", "[150000]")).await;
        house.has_started(3).await;
        guest.settle().await;
        let mut waiting = guest.send(call(1, "add", "[1,2]")).await;
        guest.settle().await;
        assert_eq!(house.actor.started(), 3);
        is_served(&house.connect_from(HOME).await.unwrap()).await;
        assert_eq!(few.reply().await, result(1, "x".repeat(100_000)));
        assert_eq!(waiting.reply().await, result(1, 3));
        assert_eq!(many.reply().await, result(1, "x".repeat(150_000)));
    }

    #[tokio::test]
    async fn connection_past_the_limit_of_unsent_bytes_continues_after_the_write_timeout() {
        let house = House::open(Limits {
            unsent_per_connection: 200_000,
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_small_window().await;
        let _unread = guest.send(call(1, "blob", "[300000]")).await;
        house.has_started(1).await;
        guest.settle().await;
        // Waits until the server has given the first up.
        is_served(&guest).await;
    }
}

mod cancellations {
    use super::*;

    fn few() -> Limits {
        Limits {
            cancellations: 20,
            cancellations_per_second: 0,
            ..Limits::default()
        }
    }

    async fn open_and_reset(guest: &RawConnection, streams: usize) {
        for _ in 0..streams {
            let mut stream = guest.send(call(1, "wait", "[]")).await;
            stream.reset(CANCELLED);
        }
    }

    #[tokio::test]
    async fn stream_resets_past_the_limit_close_the_connection() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        open_and_reset(&guest, 20).await;
        guest.settle().await;
        open_and_reset(&guest, 1).await;
        guest.was_closed(EXCESSIVE_LOAD).await;
        is_served(&house.connect_from(HOME).await.unwrap()).await;
    }

    #[tokio::test]
    async fn cancellations_past_the_limit_close_the_connection() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send("").await;
        let cancel = &line(cancel(1));
        for _ in 0..20 {
            stream.write(call(1, "wait", "[]") + cancel).await;
            assert_eq!(stream.reply().await["error"]["code"], -32001);
        }
        // One that stops nothing is none.
        stream.write(cancel).await;
        guest.settle().await;
        stream.write(call(1, "wait", "[]") + cancel).await;
        guest.was_closed(EXCESSIVE_LOAD).await;
    }

    #[tokio::test]
    async fn completed_call_offsets_ten_cancellations() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        open_and_reset(&guest, 20).await;
        guest.settle().await;
        is_served(&guest).await;
        open_and_reset(&guest, 10).await;
        guest.settle().await;
        open_and_reset(&guest, 1).await;
        guest.was_closed(EXCESSIVE_LOAD).await;
    }
}

mod calls {
    use super::*;

    fn too_many(id: impl Into<Value>) -> Value {
        let error = json!({"code": -32009, "message": "Too many calls", "data": "try again later"});
        json!({"jsonrpc": "2.0", "id": id.into(), "error": error})
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_a_connection_are_rejected_if_configured() {
        let house = House::open(Limits {
            calls_per_connection: 2,
            refuse_calls: true,
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send(call(1, "wait", "[]")).await;
        house.has_started(1).await;
        stream.write(call(2, "add", "[1,2]")).await;
        assert_eq!(stream.reply().await, result(2, 3));
        stream.write(call(3, "wait", "[]")).await;
        house.has_started(3).await;
        let more = [call(4, "add", "[1,2]"), call(5, "rpc.ping", "[]")].concat();
        stream.write(more).await;
        assert_eq!(stream.reply().await, too_many(4));
        assert_eq!(stream.reply().await, result(5, Value::Null));
        let batch = format!("[{}]\n", call(6, "add", "[1,2]").trim_end());
        stream.write(batch).await;
        assert_eq!(stream.reply().await, too_many(Value::Null));
        assert_eq!(house.actor.started(), 3);
        drop(stream);
        let mut served = guest.send("").await;
        soon(async {
            loop {
                served.write(call(7, "add", "[1,2]")).await;
                let reply = served.reply().await;
                if reply == result(7, 3) {
                    break;
                }
                assert_eq!(reply, too_many(7));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_the_server_are_rejected_if_configured() {
        let house = House::open(Limits {
            calls: 1,
            refuse_calls: true,
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let _running = guest.send(call(1, "wait", "[]")).await;
        house.has_started(1).await;
        let other = house.connect_from(HOME).await.unwrap();
        let mut stream = other.send(call(1, "add", "[1,2]")).await;
        assert_eq!(stream.reply().await, too_many(1));
    }
}

mod memory {
    use super::*;

    /// Bytes that an idle connection may cost.
    const MOST: i64 = 64 << 10;

    /// How long nothing happens.
    const IDLE: Duration = Duration::from_secs(4);

    /// What the server keeps of each of so many connections, on each of which `used` has happened, once they are idle.
    fn kept(connections: usize, used: impl AsyncFn(&RawConnection)) -> i64 {
        let (opened, house) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let server = std::thread::spawn(move || {
            let runtime = current_thread();
            let entered = runtime.enter();
            let house = House::open(Limits {
                connections_per_address: usize::MAX,
                ..Limits::default()
            });
            drop(entered);
            opened.send(house).unwrap();
            let served = async {
                stopped.await.unwrap();
                // No packet is under way any more, so the time need not pass.
                tokio::time::pause();
                tokio::time::sleep(IDLE).await;
            };
            allocation_counter::measure(|| runtime.block_on(served)).bytes_current
        });
        let house = house.recv().unwrap();
        current_thread().block_on(async {
            let mut guests = Vec::new();
            for _ in 0..connections {
                let guest = house.connect_from(HOME).await.unwrap();
                used(&guest).await;
                guests.push(guest);
            }
            stop.send(()).unwrap();
            let kept = tokio::task::spawn_blocking(|| server.join().unwrap());
            kept.await.unwrap() / connections as i64
        })
    }

    #[test]
    fn unused_connection_keeps_at_most_64_kib() {
        let kept = kept(50, async |_| {});
        println!("{kept} bytes");
        assert!(kept <= MOST, "{kept} bytes");
    }

    #[test]
    fn idle_connection_after_small_calls_keeps_at_most_64_kib() {
        let kept = kept(50, async |guest| {
            let mut stream = guest.send("").await;
            for _ in 0..100 {
                stream.write(call(1, "add", "[1,2]").repeat(10)).await;
                for _ in 0..10 {
                    assert_eq!(stream.reply().await, result(1, 3));
                }
            }
            std::mem::forget(stream);
        });
        println!("{kept} bytes");
        assert!(kept <= MOST, "{kept} bytes");
    }

    /// Calls of up to 64 KiB, all at once: `shared` of them on one stream, the others on streams of their own.
    async fn burst(guest: &RawConnection, shared: usize) {
        let call = |n| call(1, "meet", &format!("[\"{}\"]", "x".repeat(n * 512 - 100)));
        let calls: Vec<_> = (1..=CROWD).map(call).collect();
        let (shared, own) = calls.split_at(shared);
        let mut streams = Vec::new();
        for call in own {
            let mut stream = guest.send(call).await;
            stream.send.finish().unwrap();
            streams.push(stream);
        }
        let RawStream {
            mut send, mut recv, ..
        } = guest.send("").await;
        let bytes = shared.concat();
        let write = async { send.write_all(bytes.as_bytes()).await.unwrap() };
        let read = async {
            let mut replies = 0;
            while replies < shared.len() {
                let chunk = recv.read_chunk(usize::MAX, true).await.unwrap().unwrap();
                replies += chunk.bytes.iter().filter(|byte| **byte == b'\n').count();
            }
        };
        soon(async { tokio::join!(write, read) }).await;
        std::mem::forget((send, recv));
        for mut stream in streams {
            soon(stream.recv.read_to_end(usize::MAX)).await.unwrap();
        }
    }

    #[test]
    fn idle_connection_after_large_calls_keeps_at_most_512_kib() {
        for shared in [CROWD, CROWD / 2] {
            let kept = kept(8, async |guest| burst(guest, shared).await);
            println!("{kept} bytes, {shared} of the calls on one stream");
            // Nearly all of it is quinn's: places for chunks and streams, which it keeps for the next ones.
            assert!(kept <= 8 * MOST, "{kept} bytes");
        }
    }
}
