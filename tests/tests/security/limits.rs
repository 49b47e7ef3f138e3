//! The limits of a server: behaviour at each limit and past it. The clients are raw.

mod shares;

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use quinn::ConnectionError;
use rpc_runtime::{Limits, ServerBuilder, TransportSettings, rpc};
use serde_json::{Value, json};
use tests::message::{call_line as call, cancel, line, notification, result};
use tests::peer::{
    ABORTED, CANCELLED, EXCESSIVE_LOAD, RawClient, RawConnection, RawStream, TIMED_OUT,
};
use tests::support::{ANY_PORT, TestServer, current_thread, eventually, soon};
use tokio::net::UdpSocket;
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinHandle;

#[rpc]
trait Calls {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    async fn wait(&self);
    /// Returns the text once [`CONCURRENT`] calls are in it.
    async fn meet(&self, text: &str) -> String;
}

/// The number of calls that [`Calls::meet`] waits for.
const CONCURRENT: usize = 128;

#[derive(Clone)]
struct Handlers {
    started: Arc<AtomicUsize>,
    waiting: Arc<Barrier>,
}

impl Default for Handlers {
    fn default() -> Self {
        Self {
            started: Arc::default(),
            waiting: Arc::new(Barrier::new(CONCURRENT)),
        }
    }
}

impl Handlers {
    /// Returns the number of started calls.
    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn start(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }
}

impl Calls for Handlers {
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
        self.waiting.wait().await;
        text.to_owned()
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server that counts its calls.
struct LimitedServer {
    server: TestServer,
    handlers: Handlers,
}

impl LimitedServer {
    fn start(limits: Limits) -> Self {
        Self::bind(|builder| builder.limits(limits))
    }

    fn bind(configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Self {
        let handlers = Handlers::default();
        let service = CallsServer::new(handlers.clone());
        let server = TestServer::bind(|builder| configure(builder).service(service).bind(ANY_PORT));
        Self { server, handlers }
    }

    /// Returns a client that retransmits early.
    fn client(&self) -> RawClient {
        let mut transport = quinn::TransportConfig::default();
        transport.initial_rtt(Duration::from_millis(10));
        RawClient::new(&self.server).transport(transport)
    }

    /// Connects from a socket at `ip`.
    async fn connect_from(&self, ip: Ipv4Addr) -> Result<RawConnection, ConnectionError> {
        self.client().from(ip).try_dial().await
    }

    async fn connect_with_small_window(&self) -> RawConnection {
        RawClient::connect_with_small_window(&self.server).await
    }

    async fn has_started(&self, calls: usize) {
        eventually(|| self.handlers.started() >= calls).await;
    }

    /// Returns the first packet of a handshake.
    async fn first_packet(&self) -> Vec<u8> {
        let sink = UdpSocket::bind((ADDRESS, 0)).await.unwrap();
        let client = self.client();
        let _connecting = client.connecting_to(sink.local_addr().unwrap(), &client.endpoint());
        let mut packet = vec![0; 1500];
        let length = soon(sink.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packet
    }

    /// Connects from `ip` as soon as the server allows it.
    async fn connect_when_allowed(&self, ip: Ipv4Addr) -> RawConnection {
        soon(async {
            loop {
                match self.connect_from(ip).await {
                    Ok(connection) => return connection,
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

/// Waits until the server has stopped and reset the stream as timed out.
async fn has_timed_out(stream: &mut RawStream) {
    stream.was_reset(TIMED_OUT).await;
    assert_eq!(stream.stop_code().await, Some(TIMED_OUT));
}

/// Checks for `CONNECTION_REFUSED` of QUIC.
fn assert_refused(error: ConnectionError) {
    let ConnectionError::ConnectionClosed(close) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        close.error_code,
        quinn::TransportErrorCode::CONNECTION_REFUSED
    );
}

/// A client whose handshake does not proceed: its packets reach the server, and those of the server do not reach it.
struct StalledHandshake {
    socket: Arc<UdpSocket>,
    sending: JoinHandle<()>,
    _connecting: quinn::Connecting,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Handshake,
    Retry,
}

impl StalledHandshake {
    async fn start(server: &LimitedServer) -> Self {
        let sink = UdpSocket::bind((ADDRESS, 0)).await.unwrap();
        let socket = Arc::new(UdpSocket::bind((ADDRESS, 0)).await.unwrap());
        socket.connect(server.server.address).await.unwrap();
        let client = server.client();
        let connecting = client.connecting_to(sink.local_addr().unwrap(), &client.endpoint());
        let server = Arc::clone(&socket);
        let sending = tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok(length) = sink.recv(&mut packet).await {
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

/// Returns the kind of the next packet of the server.
async fn answer(socket: &UdpSocket) -> Answer {
    let mut packet = [0; 1500];
    let length = soon(socket.recv(&mut packet)).await.unwrap();
    match packet[0] & 0x30 {
        0x30 => Answer::Retry,
        0x00 => Answer::Handshake,
        other => panic!("{length} bytes: {other}"),
    }
}

impl Drop for StalledHandshake {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

mod connections {
    use super::*;

    #[tokio::test]
    async fn connections_of_an_address_past_the_limit_are_refused_until_one_closes() {
        let server = LimitedServer::start(Limits {
            max_connections_per_address: 3,
            ..Limits::default()
        });
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(server.connect_from(ADDRESS).await.unwrap());
        }
        for _ in 0..3 {
            assert_refused(server.connect_from(ADDRESS).await.err().unwrap());
        }
        for connection in &connections {
            is_served(connection).await;
        }
        is_served(&server.connect_from(OTHER_ADDRESS).await.unwrap()).await;
        connections.pop().unwrap().close(0u32.into(), b"");
        is_served(&server.connect_when_allowed(ADDRESS).await).await;
    }

    #[tokio::test]
    async fn connections_of_all_addresses_past_the_limit_are_refused_until_one_closes() {
        let server = LimitedServer::start(Limits {
            max_connections: 2,
            ..Limits::default()
        });
        let first = server.connect_from(ADDRESS).await.unwrap();
        let second = server.connect_from(OTHER_ADDRESS).await.unwrap();
        assert_refused(server.connect_from(ADDRESS).await.err().unwrap());
        assert_refused(server.connect_from(OTHER_ADDRESS).await.err().unwrap());
        is_served(&first).await;
        second.close(0u32.into(), b"");
        is_served(&server.connect_when_allowed(OTHER_ADDRESS).await).await;
    }

    #[tokio::test]
    async fn lost_connection_no_longer_counts() {
        let limits = Limits {
            max_connections: 1,
            ..Limits::default()
        };
        let transport = TransportSettings::default().idle_timeout(Duration::from_secs(1));
        let server = LimitedServer::bind(|builder| builder.limits(limits).transport(transport));
        let client = server.client().from(ADDRESS);
        // Nothing runs the client after it has connected, so that it answers no packet.
        let connecting = tokio::task::spawn_blocking(move || {
            let runtime = current_thread();
            let connection = runtime.block_on(client.try_dial()).unwrap();
            (runtime, connection)
        });
        let (runtime, _silent) = soon(connecting).await.unwrap();
        server.connect_when_allowed(ADDRESS).await;
        runtime.shutdown_background();
    }

    #[tokio::test]
    async fn idle_connection_whose_client_answers_outlives_a_short_idle_timeout() {
        let idle_timeout = Duration::from_secs(2);
        let transport = TransportSettings::default().idle_timeout(idle_timeout);
        let server = LimitedServer::bind(|builder| builder.transport(transport));
        // Keep-alive packets of clients are rarer than the timeout, and a client of quinn sends none.
        let client = server.server.connect().await;
        let foreign = server.connect_from(ADDRESS).await.unwrap();
        // The time is what is tested: it cannot be skipped, since packets are exchanged in it.
        tokio::time::sleep(idle_timeout * 2).await;
        is_served(&foreign).await;
        let sum = soon(client.call::<i64, _>("add", &(1, 2))).await;
        assert_eq!(sum.unwrap(), 3);
    }

    #[tokio::test]
    async fn many_connections_of_one_address_do_not_exclude_another() {
        let server = LimitedServer::start(Limits::default());
        let client = server.client();
        let endpoint = client.endpoint();
        let mut waiting: Vec<_> = (0..200)
            .map(|_| Box::pin(client.connecting(&endpoint)))
            .collect();
        let mut connected = Vec::new();
        soon(poll_fn(|cx| {
            waiting.retain_mut(|connecting| match connecting.as_mut().poll(cx) {
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
            match waiting.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }))
        .await;
        assert_eq!(connected.len(), 64);
        is_served(&server.connect_from(OTHER_ADDRESS).await.unwrap()).await;
    }
}

mod handshakes {
    use super::*;

    #[tokio::test]
    async fn handshake_past_the_limit_of_unvalidated_ones_gets_a_retry() {
        let server = LimitedServer::start(Limits {
            max_unvalidated_handshakes: 1,
            ..Limits::default()
        });
        let first = StalledHandshake::start(&server).await;
        assert_eq!(first.answer().await, Answer::Handshake);
        let second = StalledHandshake::start(&server).await;
        assert_eq!(second.answer().await, Answer::Retry);
        // A client that receives the retry is accepted.
        is_served(&server.connect_from(ADDRESS).await.unwrap()).await;
    }

    #[tokio::test]
    async fn handshake_past_the_limit_of_all_gets_a_retry() {
        let server = LimitedServer::start(Limits {
            max_handshakes: 2,
            ..Limits::default()
        });
        let going_on = [
            StalledHandshake::start(&server).await,
            StalledHandshake::start(&server).await,
        ];
        for stalled in &going_on {
            assert_eq!(stalled.answer().await, Answer::Handshake);
        }
        let third = StalledHandshake::start(&server).await;
        assert_eq!(third.answer().await, Answer::Retry);
    }

    #[tokio::test]
    async fn handshake_past_its_timeout_is_dropped_although_packets_arrive() {
        let server = LimitedServer::start(Limits {
            max_handshakes: 1,
            handshake_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let stalled = StalledHandshake::start(&server).await;
        assert_eq!(stalled.answer().await, Answer::Handshake);
        // The server ignores the handshake at first, and QUIC repeats it.
        is_served(&server.connect_from(ADDRESS).await.unwrap()).await;
    }

    #[tokio::test]
    async fn damaged_packets_do_not_affect_connections() {
        let server = LimitedServer::start(Limits::default());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let sink = UdpSocket::bind((ADDRESS, 0)).await.unwrap();
        let packet = server.first_packet().await;
        for at in 0..packet.len() {
            let mut damaged = packet.clone();
            damaged[at] ^= 1 << (at % 8);
            sink.send_to(&damaged, server.server.address).await.unwrap();
            sink.send_to(&packet[..at], server.server.address)
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        is_served(&connection).await;
        is_served(&server.connect_from(OTHER_ADDRESS).await.unwrap()).await;
    }
}

mod message_timeouts {
    use super::*;

    /// Longer than it takes to send a complete message.
    const SHORT: Duration = Duration::from_millis(300);

    fn short_message_timeout() -> Limits {
        Limits {
            message_timeout: SHORT,
            ..Limits::default()
        }
    }

    #[tokio::test]
    async fn incomplete_message_times_out() {
        let server = LimitedServer::start(short_message_timeout());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send("{\"jsonrpc\":").await;
        has_timed_out(&mut stream).await;
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn incomplete_message_that_grows_times_out() {
        let server = LimitedServer::start(short_message_timeout());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        // The first message is complete. The second grows byte by byte.
        let mut stream = connection.send(call(1, "add", "[1,2]") + "{").await;
        assert_eq!(stream.reply().await, result(1, 3));
        while soon(stream.send.write_all(b" ")).await.is_ok() {
            is_served(&connection).await;
        }
        has_timed_out(&mut stream).await;
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn oversized_message_without_end_times_out() {
        let server = LimitedServer::start(Limits {
            max_request_bytes: 10,
            ..short_message_timeout()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send([b'x'; 100]).await;
        has_timed_out(&mut stream).await;
    }

    #[tokio::test]
    async fn stream_between_messages_does_not_time_out() {
        let server = LimitedServer::start(Limits {
            message_timeout: Duration::from_secs(2),
            ..Limits::default()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        // On one of the streams the server has waited within a message.
        let whole = call(1, "add", "[1,2]");
        let mut streams = [
            connection.send(&whole[..20]).await,
            connection.send(&whole).await,
        ];
        is_served(&connection).await;
        streams[0].write(&whole[20..]).await;
        for stream in &mut streams {
            assert_eq!(stream.reply().await, result(1, 3));
        }
        // A blank line is no message, even in pieces.
        streams[1].write(" ").await;
        is_served(&connection).await;
        streams[1].write("\n").await;
        // This takes longer than an incomplete message may take.
        has_timed_out(&mut connection.send("{").await).await;
        for stream in &mut streams {
            stream.write(&whole[..20]).await;
            is_served(&connection).await;
            stream.write(&whole[20..]).await;
            assert_eq!(stream.reply().await, result(1, 3));
        }
    }

    #[tokio::test]
    async fn stream_without_a_first_byte_times_out() {
        let server = LimitedServer::start(Limits {
            first_byte_timeout: SHORT,
            ..Limits::default()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        // The server learns of the stream with the next one.
        let mut silent = connection.send("").await;
        is_served(&connection).await;
        has_timed_out(&mut silent).await;
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn incomplete_message_on_a_unidirectional_stream_times_out() {
        let server = LimitedServer::start(short_message_timeout());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut send = soon(connection.open_uni()).await.unwrap();
        send.write_all(b"{").await.unwrap();
        assert_eq!(soon(send.stopped()).await.unwrap(), Some(TIMED_OUT));
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn timed_out_stream_cancels_its_calls() {
        let server = LimitedServer::start(Limits {
            max_concurrent_calls_per_connection: 1,
            ..short_message_timeout()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send(call(1, "wait", "[]") + "{").await;
        has_timed_out(&mut stream).await;
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn connection_with_too_many_timed_out_streams_is_closed() {
        let server = LimitedServer::start(Limits {
            max_timed_out_messages: 3,
            ..short_message_timeout()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        for _ in 0..3 {
            has_timed_out(&mut connection.send("{").await).await;
            is_served(&connection).await;
        }
        let _late = connection.send("{").await;
        connection.was_closed(EXCESSIVE_LOAD).await;
    }
}

mod write_timeouts {
    use super::*;

    #[tokio::test]
    async fn unread_responses_time_out() {
        let server = LimitedServer::start(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let connection = server.connect_with_small_window().await;
        let mut unread = connection.send(call(1, "blob", "[300000]")).await;
        is_served(&connection).await;
        assert_eq!(unread.reset_code().await, Some(TIMED_OUT));
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn drain_after_a_write_timeout_closes_as_aborted() {
        let server = LimitedServer::start(Limits {
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let connection = server.connect_with_small_window().await;
        let mut unread = connection.send(call(1, "blob", "[300000]")).await;
        is_served(&connection).await;
        unread.reset_code().await;
        assert!(soon(server.server.handle.shutdown(Duration::from_secs(20))).await);
        connection.was_closed(ABORTED).await;
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_unsent_bytes_wait() {
        let server = LimitedServer::start(Limits {
            max_unsent_bytes_per_connection: 200_000,
            ..Limits::default()
        });
        let connection = server.connect_with_small_window().await;
        let mut few = connection.send(call(1, "blob", "[100000]")).await;
        server.has_started(1).await;
        connection.wait_until_processed().await;
        is_served(&connection).await;
        let mut many = connection.send(call(1, "blob", "[150000]")).await;
        server.has_started(3).await;
        connection.wait_until_processed().await;
        let mut waiting = connection.send(call(1, "add", "[1,2]")).await;
        connection.wait_until_processed().await;
        assert_eq!(server.handlers.started(), 3);
        is_served(&server.connect_from(ADDRESS).await.unwrap()).await;
        assert_eq!(few.reply().await, result(1, "x".repeat(100_000)));
        assert_eq!(waiting.reply().await, result(1, 3));
        assert_eq!(many.reply().await, result(1, "x".repeat(150_000)));
    }

    #[tokio::test]
    async fn connection_past_the_limit_of_unsent_bytes_continues_after_the_write_timeout() {
        let server = LimitedServer::start(Limits {
            max_unsent_bytes_per_connection: 200_000,
            write_timeout: Duration::from_millis(300),
            ..Limits::default()
        });
        let connection = server.connect_with_small_window().await;
        let _unread = connection.send(call(1, "blob", "[300000]")).await;
        server.has_started(1).await;
        connection.wait_until_processed().await;
        // The call waits until the first stream has timed out.
        is_served(&connection).await;
    }
}

/// Limits of requests that cost the server more than the client.
mod wasted {
    use super::*;

    fn few() -> Limits {
        Limits {
            max_net_cancellations: 20,
            cancellations_offset_per_second: 0,
            ..Limits::default()
        }
    }

    async fn open_and_reset(connection: &RawConnection, streams: usize) {
        for _ in 0..streams {
            let mut stream = connection.send(call(1, "wait", "[]")).await;
            stream.reset(CANCELLED);
        }
    }

    #[tokio::test]
    async fn stream_resets_past_the_limit_close_the_connection() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        open_and_reset(&connection, 20).await;
        connection.wait_until_processed().await;
        open_and_reset(&connection, 1).await;
        connection.was_closed(EXCESSIVE_LOAD).await;
        is_served(&server.connect_from(ADDRESS).await.unwrap()).await;
    }

    #[tokio::test]
    async fn cancellations_past_the_limit_close_the_connection() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send("").await;
        let cancel = &line(cancel(1));
        for _ in 0..20 {
            stream.write(call(1, "wait", "[]") + cancel).await;
            assert_eq!(stream.reply().await["error"]["code"], -32001);
        }
        stream.write(cancel).await;
        connection.was_closed(EXCESSIVE_LOAD).await;
    }

    #[tokio::test]
    async fn cancellations_that_find_no_call_count() {
        let server = LimitedServer::start(few());
        let unknown = |id: u64| {
            let params = json!({"id": id, "stream": 400, "offset": 7});
            line(notification("rpc.cancel", params))
        };
        let kinds = [|id| line(cancel(id)), unknown];
        for is_unidirectional in [false, true] {
            for cancellation in kinds {
                let connection = server.connect_from(ADDRESS).await.unwrap();
                let mut stream = connection.send("").await;
                let mut send = async |ids: std::ops::Range<u64>| {
                    let cancellations: String = ids.map(cancellation).collect();
                    match is_unidirectional {
                        true => drop(connection.send_uni(cancellations).await),
                        false => stream.write(cancellations).await,
                    }
                };
                send(0..20).await;
                connection.wait_until_processed().await;
                send(20..21).await;
                connection.was_closed(EXCESSIVE_LOAD).await;
            }
        }
    }

    #[tokio::test]
    async fn messages_that_are_no_requests_count() {
        let server = LimitedServer::start(few());
        for message in [
            "x",
            "1",
            "{}",
            "[]",
            "[1]",
            r#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2],"meta":{"a":"","a":""}}"#,
        ] {
            let connection = server.connect_from(ADDRESS).await.unwrap();
            let mut stream = connection.send("").await;
            for _ in 0..20 {
                stream.write(format!("{message}\n")).await;
                stream.reply().await;
            }
            stream.write(format!("{message}\n")).await;
            connection.was_closed(EXCESSIVE_LOAD).await;
        }
    }

    #[tokio::test]
    async fn entries_of_a_batch_that_are_no_requests_count_each() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send(format!("[{}0]\n", "0,".repeat(19))).await;
        assert_eq!(stream.reply().await.as_array().unwrap().len(), 20);
        stream.write("[0]\n").await;
        connection.was_closed(EXCESSIVE_LOAD).await;
    }

    #[tokio::test]
    async fn streams_without_a_message_count() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        for _ in 0..20 {
            assert!(connection.exchange("").await.is_empty());
        }
        connection.wait_until_processed().await;
        let mut stream = connection.open().await;
        stream.finish();
        connection.was_closed(EXCESSIVE_LOAD).await;
    }

    #[tokio::test]
    async fn calls_that_fail_do_not_count() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send("").await;
        for _ in 0..40 {
            stream.write(call(1, "absent", "[]")).await;
            assert_eq!(stream.reply().await["error"]["code"], -32601);
            stream.write(call(1, "add", "[]")).await;
            assert_eq!(stream.reply().await["error"]["code"], -32602);
        }
        is_served(&connection).await;
    }

    #[tokio::test]
    async fn completed_call_offsets_ten_cancellations() {
        let server = LimitedServer::start(few());
        let connection = server.connect_from(ADDRESS).await.unwrap();
        open_and_reset(&connection, 20).await;
        connection.wait_until_processed().await;
        is_served(&connection).await;
        open_and_reset(&connection, 10).await;
        connection.wait_until_processed().await;
        open_and_reset(&connection, 1).await;
        connection.was_closed(EXCESSIVE_LOAD).await;
    }
}

mod calls {
    use super::*;

    fn too_many(id: impl Into<Value>, limit: &str) -> Value {
        let data = format!("{limit} is reached: try again later");
        let error = json!({"code": -32009, "message": "Too many calls", "data": data});
        json!({"jsonrpc": "2.0", "id": id.into(), "error": error})
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_a_connection_are_rejected_if_configured() {
        let server = LimitedServer::start(Limits {
            max_concurrent_calls_per_connection: 2,
            reject_excess_calls: true,
            ..Limits::default()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = connection.send(call(1, "wait", "[]")).await;
        server.has_started(1).await;
        stream.write(call(2, "add", "[1,2]")).await;
        assert_eq!(stream.reply().await, result(2, 3));
        stream.write(call(3, "wait", "[]")).await;
        server.has_started(3).await;
        let more = [call(4, "add", "[1,2]"), call(5, "rpc.ping", "[]")].concat();
        stream.write(more).await;
        assert_eq!(
            stream.reply().await,
            too_many(4, "max_concurrent_calls_per_connection (2)")
        );
        assert_eq!(stream.reply().await, result(5, Value::Null));
        let batch = format!("[{}]\n", call(6, "add", "[1,2]").trim_end());
        stream.write(batch).await;
        assert_eq!(
            stream.reply().await,
            too_many(Value::Null, "max_concurrent_calls_per_connection (2)")
        );
        assert_eq!(server.handlers.started(), 3);
        drop(stream);
        let mut served = connection.send("").await;
        soon(async {
            loop {
                served.write(call(7, "add", "[1,2]")).await;
                let reply = served.reply().await;
                if reply == result(7, 3) {
                    break;
                }
                assert_eq!(
                    reply,
                    too_many(7, "max_concurrent_calls_per_connection (2)")
                );
            }
        })
        .await;
    }

    #[tokio::test]
    async fn calls_past_the_limit_of_the_server_are_rejected_if_configured() {
        let server = LimitedServer::start(Limits {
            max_concurrent_calls: 1,
            reject_excess_calls: true,
            ..Limits::default()
        });
        let connection = server.connect_from(ADDRESS).await.unwrap();
        let _running = connection.send(call(1, "wait", "[]")).await;
        server.has_started(1).await;
        let other = server.connect_from(ADDRESS).await.unwrap();
        let mut stream = other.send(call(1, "add", "[1,2]")).await;
        assert_eq!(
            stream.reply().await,
            too_many(1, "max_concurrent_calls (1)")
        );
    }
}

mod memory {
    use super::*;

    /// The bytes that an idle connection may keep.
    const MOST: i64 = 64 << 10;

    /// The time after which buffers have been released.
    const IDLE: Duration = Duration::from_secs(4);

    /// Returns the memory that the server keeps for each of `count` connections, after `used` and an idle time.
    fn kept(count: usize, used: impl AsyncFn(&RawConnection)) -> i64 {
        let (started, server) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = current_thread();
            let entered = runtime.enter();
            let server = LimitedServer::start(Limits {
                max_connections_per_address: usize::MAX,
                ..Limits::default()
            });
            drop(entered);
            started.send(server).unwrap();
            let served = async {
                stopped.await.unwrap();
                // No more packets are expected, so the clock may jump.
                tokio::time::pause();
                tokio::time::sleep(IDLE).await;
            };
            allocation_counter::measure(|| runtime.block_on(served)).bytes_current
        });
        let server = server.recv().unwrap();
        current_thread().block_on(async {
            let mut connections = Vec::new();
            for _ in 0..count {
                let connection = server.connect_from(ADDRESS).await.unwrap();
                used(&connection).await;
                connections.push(connection);
            }
            stop.send(()).unwrap();
            let kept = tokio::task::spawn_blocking(|| thread.join().unwrap());
            kept.await.unwrap() / count as i64
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
        let kept = kept(50, async |connection| {
            let mut stream = connection.send("").await;
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

    /// Makes concurrent calls of up to 64 KiB: `shared` of them on one stream, the others on dedicated streams.
    async fn burst(connection: &RawConnection, shared: usize) {
        let call = |n| call(1, "meet", &format!("[\"{}\"]", "x".repeat(n * 512 - 100)));
        let calls: Vec<_> = (1..=CONCURRENT).map(call).collect();
        let (shared, own) = calls.split_at(shared);
        let mut streams = Vec::new();
        for call in own {
            let mut stream = connection.send(call).await;
            stream.send.finish().unwrap();
            streams.push(stream);
        }
        let RawStream {
            mut send, mut recv, ..
        } = connection.send("").await;
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
        for shared in [CONCURRENT, CONCURRENT / 2] {
            let kept = kept(8, async |connection| burst(connection, shared).await);
            println!("{kept} bytes, {shared} of the calls on one stream");
            // Nearly all of it belongs to quinn, which keeps slots for chunks and streams.
            assert!(kept <= 8 * MOST, "{kept} bytes");
        }
    }
}
