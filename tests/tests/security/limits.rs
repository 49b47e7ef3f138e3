//! What a server takes, driven to the edge of each limit and past it. The clients are outsiders.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    Connection, ConnectionError, Endpoint, ReadError, ReadToEndError, RecvStream, SendStream,
};
use rpc_runtime::{Identity, Limits, Server, ServerHandle, rpc};
use serde_json::{Value, json};
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
    address: SocketAddr,
    client_config: quinn::ClientConfig,
    actor: Actor,
    handle: ServerHandle,
}

impl House {
    fn open(limits: Limits) -> Self {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(identity.certificate().der().to_vec().into())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec!["jsonrpc/1".into()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut client_config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        // It does not wait long before it sends again.
        transport.initial_rtt(Duration::from_millis(10));
        client_config.transport_config(Arc::new(transport));
        let actor = Actor::default();
        let server = Server::builder(identity)
            .service(StageServer::new(actor.clone()))
            .limits(limits)
            .bind("127.0.0.1:0")
            .unwrap();
        let house = Self {
            address: server.local_addr().unwrap(),
            client_config,
            actor,
            handle: server.handle(),
        };
        tokio::spawn(server.run());
        house
    }

    /// A socket at `ip`, and a connection from it.
    async fn connect_from(&self, ip: Ipv4Addr) -> Result<Guest, ConnectionError> {
        let endpoint = Endpoint::client((ip, 0).into()).unwrap();
        let connecting = self.dial(&endpoint, self.address);
        let connection = soon(connecting).await?;
        Ok(Guest {
            connection,
            endpoint,
        })
    }

    /// A client that takes no more than 1,000 bytes of a stream before it reads them.
    async fn connect_with_little_room(&self) -> Guest {
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(1000_u32.into());
        let mut config = self.client_config.clone();
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client((HOME, 0).into()).unwrap();
        let connecting = endpoint.connect_with(config, self.address, "localhost");
        let connection = soon(connecting.unwrap()).await.unwrap();
        Guest {
            connection,
            endpoint,
        }
    }

    async fn has_started(&self, calls: usize) {
        let started = async {
            while self.actor.started() < calls {
                tokio::task::yield_now().await;
            }
        };
        soon(started).await;
    }

    fn dial(&self, endpoint: &Endpoint, address: SocketAddr) -> quinn::Connecting {
        let config = self.client_config.clone();
        endpoint.connect_with(config, address, "localhost").unwrap()
    }

    /// What a client starts with.
    async fn first_packet(&self) -> Vec<u8> {
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let endpoint = Endpoint::client((HOME, 0).into()).unwrap();
        let _connecting = self.dial(&endpoint, hole.local_addr().unwrap());
        let mut packet = vec![0; 1500];
        let length = soon(hole.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packet
    }

    /// A client from `ip` comes in as soon as there is a place again.
    async fn lets_in(&self, ip: Ipv4Addr) -> Guest {
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

struct Guest {
    connection: Connection,
    endpoint: Endpoint,
}

impl Guest {
    /// A stream, on which `bytes` were sent.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> Stream {
        let (mut send, recv) = soon(self.connection.open_bi()).await.unwrap();
        soon(send.write_all(bytes.as_ref())).await.unwrap();
        Stream { send, recv }
    }

    async fn is_served(&self) {
        let mut stream = self.send(call(1, "add", "[1,2]")).await;
        assert_eq!(stream.reply().await, result(1, 3));
    }

    /// What had arrived before is worked on as far as it goes.
    async fn settle(&self) {
        for _ in 0..20 {
            let mut stream = self.send(call(1, "rpc.ping", "[]")).await;
            assert_eq!(stream.reply().await, result(1, Value::Null));
        }
    }

    async fn was_closed(&self, code: u32) {
        let ConnectionError::ApplicationClosed(close) = soon(self.connection.closed()).await else {
            panic!("it ended in another way")
        };
        assert_eq!(close.error_code, code.into());
    }

    async fn leave(self) {
        self.connection.close(0_u32.into(), b"");
        soon(self.endpoint.wait_idle()).await;
    }
}

struct Stream {
    send: SendStream,
    recv: RecvStream,
}

impl Stream {
    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.send.write_all(bytes.as_ref())).await.unwrap();
    }

    async fn reply(&mut self) -> Value {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            soon(self.recv.read_exact(&mut byte)).await.unwrap();
            line.extend(byte);
        }
        serde_json::from_slice(&line).unwrap()
    }

    /// The server wants no more requests of it and sends no more replies.
    async fn was_given_up(&mut self, code: u32) {
        let end = soon(self.recv.read_to_end(usize::MAX)).await;
        assert!(
            matches!(&end, Err(ReadToEndError::Read(ReadError::Reset(with))) if *with == code.into()),
            "{end:?}"
        );
        assert_eq!(soon(self.send.stopped()).await.unwrap(), Some(code.into()));
    }
}

const CUT_OFF: u32 = 0x11;
const EXCESSIVE_LOAD: u32 = 0x13;
const TIMEOUT: u32 = 0x14;
const CANCELLED: u32 = 0x20;

fn call(id: u32, method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
}

fn result(id: u32, result: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result.into()})
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

/// What must happen, happens long before this.
async fn soon<T>(what: impl IntoFuture<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(10), what.into_future());
    within.await.expect("nothing happens any more")
}

/// A client that never gets further than its first packets: what it sends, again and again, reaches the server, and
/// what the server answers stays here.
struct Stuck {
    socket: Arc<UdpSocket>,
    sending: JoinHandle<()>,
    _endpoint: Endpoint,
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
        socket.connect(house.address).await.unwrap();
        let endpoint = Endpoint::client((HOME, 0).into()).unwrap();
        let connecting = house.dial(&endpoint, hole.local_addr().unwrap());
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
            _endpoint: endpoint,
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
    async fn an_address_has_so_many_and_gets_them_back() {
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
            guest.is_served().await;
        }
        house.connect_from(ABROAD).await.unwrap().is_served().await;
        guests.pop().unwrap().leave().await;
        house.lets_in(HOME).await.is_served().await;
    }

    #[tokio::test]
    async fn a_server_has_so_many_in_all() {
        let house = House::open(Limits {
            connections: 2,
            ..Limits::default()
        });
        let first = house.connect_from(HOME).await.unwrap();
        let second = house.connect_from(ABROAD).await.unwrap();
        assert_refused(house.connect_from(HOME).await.err().unwrap());
        assert_refused(house.connect_from(ABROAD).await.err().unwrap());
        first.is_served().await;
        second.leave().await;
        house.lets_in(HOME).await.is_served().await;
    }

    #[tokio::test]
    async fn one_that_is_lost_gives_its_place_back() {
        let house = House::open(Limits {
            connections: 1,
            idle_timeout: Duration::from_millis(50),
            ..Limits::default()
        });
        let silent = house.connect_from(HOME).await.unwrap();
        let lost = soon(silent.connection.closed()).await;
        assert_eq!(lost, ConnectionError::TimedOut);
        house.lets_in(HOME).await;
    }

    #[tokio::test]
    async fn many_from_one_address_keep_out_no_other() {
        let house = House::open(Limits::default());
        let endpoint = Endpoint::client((HOME, 0).into()).unwrap();
        let mut crowd: Vec<_> = (0..200)
            .map(|_| Box::pin(house.dial(&endpoint, house.address)))
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
        house.connect_from(ABROAD).await.unwrap().is_served().await;
    }
}

mod handshakes {
    use super::*;

    #[tokio::test]
    async fn past_the_limit_a_client_must_prove_its_address() {
        let house = House::open(Limits {
            unproven_handshakes: 1,
            ..Limits::default()
        });
        let first = Stuck::start(&house).await;
        assert_eq!(first.answer().await, Answer::Handshake);
        let second = Stuck::start(&house).await;
        assert_eq!(second.answer().await, Answer::Retry);
        // Who hears the answer comes in.
        house.connect_from(HOME).await.unwrap().is_served().await;
    }

    #[tokio::test]
    async fn past_the_last_limit_nobody_is_answered() {
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
        hole.send_to(&packet, house.address).await.unwrap();
        // A packet of a version that nobody knows is answered at once.
        let mut unknown = [0; 1200];
        unknown[..7].copy_from_slice(&[0xc0, 0xfa, 0xce, 0xb0, 0x0c, 0, 0]);
        for _ in 0..20 {
            hole.send_to(&unknown, house.address).await.unwrap();
            assert_eq!(answer(&hole).await, Answer::VersionNegotiation);
        }
    }

    #[tokio::test]
    async fn one_that_goes_on_for_too_long_is_given_up_however_lively_it_is() {
        let house = House::open(Limits {
            handshakes: 1,
            handshake_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let stuck = Stuck::start(&house).await;
        assert_eq!(stuck.answer().await, Answer::Handshake);
        // Ignored at first; it comes again by itself.
        house.connect_from(HOME).await.unwrap().is_served().await;
    }

    #[tokio::test]
    async fn packets_that_are_none_harm_nobody() {
        let house = House::open(Limits::default());
        let guest = house.connect_from(HOME).await.unwrap();
        let hole = UdpSocket::bind((HOME, 0)).await.unwrap();
        let packet = house.first_packet().await;
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 1 << (at % 8);
            hole.send_to(&damaged, house.address).await.unwrap();
            hole.send_to(&packet[..at], house.address).await.unwrap();
            tokio::task::yield_now().await;
        }
        guest.is_served().await;
        house.connect_from(ABROAD).await.unwrap().is_served().await;
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
    async fn half_a_message_is_not_waited_for_for_ever() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send("{\"jsonrpc\":").await;
        stream.was_given_up(TIMEOUT).await;
        guest.is_served().await;
    }

    #[tokio::test]
    async fn what_comes_of_it_meanwhile_gives_it_no_more_time() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        // The first is whole; the second has one byte more again and again.
        let mut stream = guest.send(call(1, "add", "[1,2]") + "{").await;
        assert_eq!(stream.reply().await, result(1, 3));
        let dribble = async {
            while stream.send.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(dribble).await;
        stream.was_given_up(TIMEOUT).await;
        guest.is_served().await;
    }

    #[tokio::test]
    async fn a_message_that_is_skipped_has_to_come_to_its_end_too() {
        let house = House::open(Limits {
            request: 10,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send([b'x'; 100]).await;
        stream.was_given_up(TIMEOUT).await;
    }

    #[tokio::test]
    async fn between_messages_a_stream_may_be_silent_for_ever() {
        let house = House::open(Limits {
            message_timeout: Duration::from_secs(2),
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        // The server has waited on one of them in the middle of a message.
        let whole = call(1, "add", "[1,2]");
        let mut streams = [guest.send(&whole[..20]).await, guest.send(&whole).await];
        guest.is_served().await;
        streams[0].write(&whole[20..]).await;
        for stream in &mut streams {
            assert_eq!(stream.reply().await, result(1, 3));
        }
        // A blank line is nothing, also when it comes in pieces.
        streams[1].write(" ").await;
        guest.is_served().await;
        streams[1].write("\n").await;
        // This takes longer than the others may take.
        guest.send("{").await.was_given_up(TIMEOUT).await;
        for stream in &mut streams {
            stream.write(&whole[..20]).await;
            guest.is_served().await;
            stream.write(&whole[20..]).await;
            assert_eq!(stream.reply().await, result(1, 3));
        }
    }

    #[tokio::test]
    async fn a_stream_has_to_begin() {
        let house = House::open(Limits {
            first_byte_timeout: SHORT,
            ..Limits::default()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        // It is there for the server as soon as the next one is.
        let mut silent = guest.send("").await;
        guest.is_served().await;
        silent.was_given_up(TIMEOUT).await;
        guest.is_served().await;
    }

    #[tokio::test]
    async fn one_way_streams_are_no_exception() {
        let house = House::open(short_of_patience());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut send = soon(guest.connection.open_uni()).await.unwrap();
        send.write_all(b"{").await.unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(TIMEOUT.into()));
        guest.is_served().await;
    }

    #[tokio::test]
    async fn what_runs_on_the_stream_is_cancelled_with_it() {
        let house = House::open(Limits {
            calls_per_connection: 1,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send(call(1, "wait", "[]") + "{").await;
        stream.was_given_up(TIMEOUT).await;
        guest.is_served().await;
    }

    #[tokio::test]
    async fn after_so_many_of_them_the_connection_is_closed() {
        let house = House::open(Limits {
            late_messages: 3,
            ..short_of_patience()
        });
        let guest = house.connect_from(HOME).await.unwrap();
        for _ in 0..3 {
            guest.send("{").await.was_given_up(TIMEOUT).await;
            guest.is_served().await;
        }
        let _late = guest.send("{").await;
        guest.was_closed(EXCESSIVE_LOAD).await;
    }
}

mod slow_readers {
    use super::*;

    #[tokio::test]
    async fn replies_that_nobody_reads_are_not_kept_for_ever() {
        let house = House::open(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_little_room().await;
        let mut unread = guest.send(call(1, "blob", "[300000]")).await;
        guest.is_served().await;
        assert_eq!(
            soon(unread.recv.received_reset()).await.unwrap(),
            Some(TIMEOUT.into())
        );
        guest.is_served().await;
    }

    #[tokio::test]
    async fn a_drain_does_not_say_that_replies_have_arrived_which_were_given_up() {
        let house = House::open(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_little_room().await;
        let mut unread = guest.send(call(1, "blob", "[300000]")).await;
        guest.is_served().await;
        soon(unread.recv.received_reset()).await.unwrap();
        assert!(soon(house.handle.shutdown(Duration::from_secs(20))).await);
        guest.was_closed(CUT_OFF).await;
    }

    #[tokio::test]
    async fn past_the_limit_of_a_connection_no_call_is_started_until_replies_have_left() {
        let house = House::open(Limits {
            unsent_per_connection: 200_000,
            ..Limits::default()
        });
        let guest = house.connect_with_little_room().await;
        let mut few = guest.send(call(1, "blob", "[100000]")).await;
        house.has_started(1).await;
        guest.settle().await;
        guest.is_served().await;
        let mut many = guest.send(call(1, "blob", "[150000]")).await;
        house.has_started(3).await;
        guest.settle().await;
        let mut waiting = guest.send(call(1, "add", "[1,2]")).await;
        guest.settle().await;
        assert_eq!(house.actor.started(), 3);
        house.connect_from(HOME).await.unwrap().is_served().await;
        assert_eq!(few.reply().await, result(1, "x".repeat(100_000)));
        assert_eq!(waiting.reply().await, result(1, 3));
        assert_eq!(many.reply().await, result(1, "x".repeat(150_000)));
    }

    #[tokio::test]
    async fn a_connection_that_reads_nothing_goes_on_when_its_streams_are_given_up() {
        let house = House::open(Limits {
            unsent_per_connection: 200_000,
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let guest = house.connect_with_little_room().await;
        let _unread = guest.send(call(1, "blob", "[300000]")).await;
        house.has_started(1).await;
        guest.settle().await;
        // Waits until the server has given the first up.
        guest.is_served().await;
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

    async fn open_and_reset(guest: &Guest, streams: usize) {
        for _ in 0..streams {
            let mut stream = guest.send(call(1, "wait", "[]")).await;
            stream.send.reset(CANCELLED.into()).unwrap();
        }
    }

    #[tokio::test]
    async fn so_many_streams_may_be_reset() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        open_and_reset(&guest, 20).await;
        guest.settle().await;
        open_and_reset(&guest, 1).await;
        guest.was_closed(EXCESSIVE_LOAD).await;
        house.connect_from(HOME).await.unwrap().is_served().await;
    }

    #[tokio::test]
    async fn so_many_calls_may_be_cancelled() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        let mut stream = guest.send("").await;
        let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":[1]}\n";
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
    async fn a_call_that_ends_makes_up_for_ten_of_them() {
        let house = House::open(few());
        let guest = house.connect_from(HOME).await.unwrap();
        open_and_reset(&guest, 20).await;
        guest.settle().await;
        guest.is_served().await;
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
    async fn they_are_refused_past_the_limit_if_the_server_is_told_to() {
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
    async fn the_same_with_those_of_all_connections() {
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
    fn kept(connections: usize, used: impl AsyncFn(&Guest)) -> i64 {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
        };
        let (opened, house) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let server = std::thread::spawn(move || {
            let runtime = runtime();
            let entered = runtime.enter();
            let house = House::open(Limits {
                connections_per_address: usize::MAX,
                ..Limits::default()
            });
            drop(entered);
            opened.send(house).unwrap();
            let served = async {
                stopped.await.unwrap();
                tokio::time::sleep(IDLE).await;
            };
            allocation_counter::measure(|| runtime.block_on(served)).bytes_current
        });
        let house = house.recv().unwrap();
        runtime().block_on(async {
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
    fn a_connection_that_was_never_used() {
        let kept = kept(50, async |_| {});
        println!("{kept} bytes");
        assert!(kept <= MOST, "{kept} bytes");
    }

    #[test]
    fn a_connection_that_made_a_thousand_small_calls() {
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
    async fn burst(guest: &Guest, shared: usize) {
        let call = |n| call(1, "meet", &format!("[\"{}\"]", "x".repeat(n * 512 - 100)));
        let calls: Vec<_> = (1..=CROWD).map(call).collect();
        let (shared, own) = calls.split_at(shared);
        let mut streams = Vec::new();
        for call in own {
            let mut stream = guest.send(call).await;
            stream.send.finish().unwrap();
            streams.push(stream);
        }
        let Stream { mut send, mut recv } = guest.send("").await;
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
    fn a_connection_that_made_128_large_calls_at_once() {
        for shared in [CROWD, CROWD / 2] {
            let kept = kept(8, async |guest| burst(guest, shared).await);
            println!("{kept} bytes, {shared} of the calls on one stream");
            // Nearly all of it is quinn's: places for chunks and streams, which it keeps for the next ones.
            assert!(kept <= 8 * MOST, "{kept} bytes");
        }
    }
}
