//! Hostile clients over WebSocket, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Limits, Stream, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stream_client::{read_until, soon};
use crate::support::serve_set;

/// The first bytes of frames (RFC 6455, section 5.2), with their opcodes and whether they are the last ones of a message.
const TEXT: u8 = 0x81;
const FIRST: u8 = 0x01;
const NEXT: u8 = 0x00;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"rpc.ping"}"#;

#[rpc]
trait Mill {
    async fn text(&self, bytes: usize) -> String;

    /// Waits for the end of its items.
    async fn sum(&self, numbers: impl Stream<Item = i64>) -> i64;
}

struct Grinds;

impl Mill for Grinds {
    async fn text(&self, bytes: usize) -> String {
        "a".repeat(bytes)
    }

    async fn sum(&self, numbers: impl Stream<Item = i64>) -> i64 {
        use futures_util::StreamExt;
        numbers
            .fold(0, |sum, number| async move { sum + number })
            .await
    }
}

async fn serve(limits: Limits) -> SocketAddr {
    let services = ServiceSet::builder()
        .service(MillServer::new(Grinds))
        .limits(limits);
    serve_set(services.build().unwrap()).await
}

/// Returns a frame that is masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A client that sends frames.
struct Attacker(TcpStream);

impl Attacker {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let handshake = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self(stream)
    }

    async fn send(&mut self, frame: &[u8]) {
        self.0.write_all(frame).await.unwrap();
    }

    /// Returns the next frame of the server: its first byte and its payload.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let receive = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        };
        soon(receive, "a frame").await
    }

    async fn receive_text(&mut self) -> String {
        let (first, payload) = self.receive().await;
        assert_eq!(first, TEXT, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// Returns the code and the reason with which the server closes the socket.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            let (first, payload) = self.receive().await;
            if first == CLOSE {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
            }
        }
    }

    /// Sends the same bytes again and again, and reads nothing, until the server has closed the connection.
    async fn flood(&mut self, bytes: &[u8]) {
        let flood = async { while self.0.write_all(bytes).await.is_ok() {} };
        soon(flood, "the end of a flood").await;
    }
}

#[tokio::test]
async fn frames_that_break_the_rfc_close_the_socket_with_1002() {
    let address = serve(Limits::default()).await;
    let text = CALL.as_bytes();
    let mut unmasked = vec![TEXT, u8::try_from(text.len()).unwrap()];
    unmasked.extend(text);
    let cases = [
        ("an unmasked frame", unmasked),
        ("a reserved bit", frame(TEXT | 0x40, text)),
        ("an unknown opcode", frame(0x83, text)),
        ("an unknown opcode of control", frame(0x8b, b"")),
        ("a continuation of nothing", frame(NEXT, text)),
        (
            "a message within another",
            [frame(FIRST, text), frame(TEXT, text)].concat(),
        ),
        ("a ping in pieces", frame(0x09, b"a")),
        ("a long ping", frame(PING, &[b'a'; 126])),
    ];
    for (what, bytes) in cases {
        let mut attacker = Attacker::connect(address).await;
        attacker.send(&bytes).await;
        assert_eq!(attacker.closed().await.0, 1002, "{what}");
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_the_socket_with_1007() {
    let address = serve(Limits::default()).await;
    for bytes in [
        frame(TEXT, b"\xff\xfe"),
        [frame(FIRST, b"\xc3"), frame(0x80, b"(")].concat(),
    ] {
        let mut attacker = Attacker::connect(address).await;
        attacker.send(&bytes).await;
        assert_eq!(attacker.closed().await.0, 1007);
    }
}

#[tokio::test]
async fn message_of_frames_without_end_closes_the_socket_at_the_limit_of_its_size() {
    let address = serve(Limits::default()).await;
    let mut attacker = Attacker::connect(address).await;
    attacker.send(&frame(FIRST, b"")).await;
    for _ in 0..16 {
        attacker.send(&frame(NEXT, &[b' '; 64 << 10])).await;
    }
    attacker.send(&frame(NEXT, b" ")).await;
    let (code, reason) = attacker.closed().await;
    assert_eq!(code, 1009);
    assert!(reason.contains("`Limits::max_request_bytes`"), "{reason}");
}

#[tokio::test]
async fn message_that_is_not_complete_in_time_closes_the_socket() {
    let limits = Limits {
        message_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let address = serve(limits).await;
    let text = frame(TEXT, CALL.as_bytes());
    for begin in [&text[..1], &text[..20], &frame(FIRST, b"{")] {
        let mut attacker = Attacker::connect(address).await;
        // A message before it does not count.
        attacker.send(&[&text, begin].concat()).await;
        assert!(attacker.receive_text().await.contains(r#""id":7"#));
        let (code, reason) = attacker.closed().await;
        assert_eq!(code, 1008);
        assert!(reason.contains("`Limits::message_timeout`"), "{reason}");
    }
    // Neither empty frames nor pings renew the time.
    let mut attacker = Attacker::connect(address).await;
    attacker.send(&frame(FIRST, b"{")).await;
    let trickle = async {
        let (mut receive, mut send) = attacker.0.split();
        let sending = async {
            while send
                .write_all(&[frame(NEXT, b""), frame(PING, b"")].concat())
                .await
                .is_ok()
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let mut received = Vec::new();
        let receiving = async {
            let _ = receive.read_to_end(&mut received).await;
        };
        tokio::join!(sending, receiving);
    };
    soon(trickle, "the end of the connection").await;
}

#[tokio::test]
async fn socket_without_messages_stays_open_longer_than_a_message_may_take() {
    let limits = Limits {
        message_timeout: Duration::from_millis(50),
        first_byte_timeout: Duration::from_secs(20),
        ..Limits::default()
    };
    let address = serve(limits).await;
    let mut attacker = Attacker::connect(address).await;
    for _ in 0..2 {
        attacker.send(&frame(TEXT, CALL.as_bytes())).await;
        assert!(attacker.receive_text().await.contains(r#""result":null"#));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn client_that_sends_and_reads_nothing_is_disconnected_in_time() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let address = serve(limits).await;
    let large = r#"{"jsonrpc":"2.0","id":1,"method":"text","params":[100000]}"#;
    for flood in [
        frame(PING, &[b'a'; 125]),
        frame(TEXT, large.as_bytes()),
        frame(TEXT, CALL.as_bytes()),
    ] {
        let mut attacker = Attacker::connect(address).await;
        attacker.flood(&flood.repeat(100)).await;
    }
}

#[tokio::test]
async fn messages_about_calls_that_do_not_exist_are_ignored() {
    let address = serve(Limits::default()).await;
    let mut attacker = Attacker::connect(address).await;
    let messages = [
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"a"}}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":{"id":"b","item":2}}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.end","params":[1]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":[1]}"#,
    ];
    for message in messages {
        attacker.send(&frame(TEXT, message.as_bytes())).await;
    }
    attacker.send(&frame(TEXT, CALL.as_bytes())).await;
    assert_eq!(
        attacker.receive_text().await,
        r#"{"jsonrpc":"2.0","id":7,"result":null}"#
    );
}

/// A call that waits for items takes a stream, also while it waits for a permit.
#[tokio::test]
async fn calls_with_items_past_the_limit_are_rejected() {
    let limits = Limits {
        max_concurrent_calls_per_connection: 4,
        ..Limits::default()
    };
    let address = serve(limits).await;
    let mut attacker = Attacker::connect(address).await;
    let call = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"sum","params":[]}}"#);
    // The ids of calls may be the same.
    for id in [0, 1, 1, 1].into_iter().chain(4..10) {
        attacker.send(&frame(TEXT, call(id).as_bytes())).await;
    }
    for id in 4..10 {
        assert_eq!(
            attacker.receive_text().await,
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32009,"message":"Too many calls","data":"max_concurrent_calls_per_connection (4) is reached: try again later"}}}}"#
            )
        );
    }
    let messages = [
        r#"{"jsonrpc":"2.0","method":"rpc.item","params":[0,7]}"#,
        r#"{"jsonrpc":"2.0","method":"rpc.end","params":[0]}"#,
    ];
    for message in messages {
        attacker.send(&frame(TEXT, message.as_bytes())).await;
    }
    assert_eq!(
        attacker.receive_text().await,
        r#"{"jsonrpc":"2.0","id":0,"result":7}"#
    );
}

#[tokio::test]
async fn client_that_floods_with_calls_with_items_and_reads_nothing_is_disconnected_in_time() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let address = serve(limits).await;
    let mut attacker = Attacker::connect(address).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"sum","params":[]}"#;
    attacker
        .flood(&frame(TEXT, call.as_bytes()).repeat(100))
        .await;
}

#[tokio::test]
async fn id_with_escapes_ends_its_call_like_another() {
    let limits = Limits {
        max_concurrent_calls_per_connection: 1,
        ..Limits::default()
    };
    let address = serve(limits).await;
    let mut client = Attacker::connect(address).await;
    for _ in 0..5 {
        let messages = [
            r#"{"jsonrpc":"2.0","id":"caf\u00e9","method":"sum","params":[]}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.item","params":["caf\u00e9",3]}"#,
            r#"{"jsonrpc":"2.0","method":"rpc.end","params":["caf\u00e9"]}"#,
        ];
        for message in messages {
            client.send(&frame(TEXT, message.as_bytes())).await;
        }
        assert_eq!(
            client.receive_text().await,
            r#"{"jsonrpc":"2.0","id":"café","result":3}"#
        );
    }
}
