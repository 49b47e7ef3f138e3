//! Hostile clients of HTTP/2, frame by frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Limits, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::stream_client::soon;
use crate::support::serve_set;

/// Types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;

const ENABLE_CONNECT: u16 = 8;

const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Returns the headers of a POST (RFC 7541): the method, the scheme and the path by their numbers, and two literals.
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86, 0x84];
    let mut literal = |name: &[u8], value: &str| {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    };
    literal(&[0x01], "localhost");
    literal(&[0x0f, 0x10], "application/json");
    head
}

fn headers(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head())
}

fn request(stream: u32, message: &str) -> Vec<u8> {
    let body = frame(DATA, END_STREAM, stream, message.as_bytes());
    [headers(stream), body].concat()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A client that sends frames.
struct Attacker {
    stream: TcpStream,
}

impl Attacker {
    async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[]).await
    }

    async fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| {
                [name.to_be_bytes().to_vec(), value.to_be_bytes().to_vec()].concat()
            })
            .collect();
        let mut attacker = Self { stream };
        attacker.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        attacker.send(&frame(SETTINGS, 0, 0, &settings)).await;
        attacker
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Returns the next frame; `None` at the end of the connection.
    async fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        soon(self.stream.read_exact(&mut head), "a frame")
            .await
            .ok()?;
        let [a, b, c, kind, flags, w, x, y, z] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        soon(self.stream.read_exact(&mut payload), "a frame")
            .await
            .ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([w, x, y, z]),
            payload,
        })
    }

    /// Receives the body of a response.
    async fn receive_body(&mut self, stream: u32) -> Option<String> {
        let mut body = Vec::new();
        loop {
            let frame = self.receive().await?;
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                DATA => body.extend(frame.payload),
                RST_STREAM => return None,
                _ => {}
            }
            if frame.flags & END_STREAM != 0 {
                return Some(String::from_utf8(body).unwrap());
            }
        }
    }

    /// Reads until the server has closed the connection. Returns the code with which it has.
    async fn closed(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.receive().await {
            if frame.kind == GOAWAY {
                code = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }

    /// Sends the same bytes again and again, and reads nothing, until the server has closed the connection.
    async fn flood(&mut self, bytes: &[u8]) {
        let flood = async { while self.stream.write_all(bytes).await.is_ok() {} };
        soon(flood, "the end of a flood").await;
    }
}

#[rpc]
trait Yard {
    /// Never returns.
    async fn hold(&self);

    async fn text(&self, bytes: usize) -> String;
}

struct Counts {
    started: mpsc::UnboundedSender<()>,
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Yard for Counts {
    async fn hold(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(Arc::clone(&self.running));
        self.started.send(()).unwrap();
        std::future::pending().await
    }

    async fn text(&self, bytes: usize) -> String {
        "a".repeat(bytes)
    }
}

struct Served {
    address: SocketAddr,
    started: mpsc::UnboundedReceiver<()>,
    running: Arc<AtomicUsize>,
}

async fn serve(limits: Limits) -> Served {
    let (sender, started) = mpsc::unbounded_channel();
    let running = Arc::default();
    let counts = Counts {
        started: sender,
        running: Arc::clone(&running),
    };
    let services = ServiceSet::builder()
        .service(YardServer::new(counts))
        .limits(limits);
    Served {
        address: serve_set(services.build().unwrap()).await,
        started,
        running,
    }
}

const HOLD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"hold"}"#;

/// The numbers of the streams that a client opens.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

/// The attack of CVE-2023-44487, with requests that are reset before the server has taken them.
#[tokio::test]
async fn requests_that_are_reset_at_once_close_the_connection() {
    let served = serve(Limits::default()).await;
    let mut attacker = Attacker::connect(served.address).await;
    let burst: Vec<u8> = streams()
        .take(2_000)
        .flat_map(|stream| [request(stream, HOLD), reset(stream)].concat())
        .collect();
    // The server may close the connection before it has read everything.
    let _ = attacker.stream.write_all(&burst).await;
    assert_eq!(attacker.closed().await, Some(ENHANCE_YOUR_CALM));
    assert_eq!(served.running.load(Ordering::Relaxed), 0);
}

/// The same attack, with calls that run.
#[tokio::test]
async fn requests_that_are_reset_while_their_calls_run_close_the_connection_at_the_limit() {
    let limits = Limits {
        max_net_cancellations: 20,
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    let mut served = serve(limits).await;
    let mut attacker = Attacker::connect(served.address).await;
    let mut calls = 0;
    for stream in streams() {
        // Fails once the server has closed the connection.
        let sent = attacker.stream.write_all(&request(stream, HOLD)).await;
        let started = tokio::select! {
            _ = served.started.recv() => sent.is_ok(),
            _ = attacker.closed() => false,
        };
        if !started {
            break;
        }
        calls += 1;
        let _ = attacker.stream.write_all(&reset(stream)).await;
    }
    assert!((20..=22).contains(&calls), "{calls}");
}

#[tokio::test]
async fn incomplete_requests_that_are_reset_close_the_connection_at_the_limit() {
    let limits = Limits {
        max_net_cancellations: 20,
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    let served = serve(limits).await;
    let mut attacker = Attacker::connect(served.address).await;
    let mut count = 0;
    for stream in streams().take(1_000) {
        let begun = [headers(stream), frame(DATA, 0, stream, b"{")].concat();
        // The reply to a ping shows that the server has taken the request.
        let ping = frame(PING, 0, 0, &[0; 8]);
        if attacker
            .stream
            .write_all(&[begun, ping].concat())
            .await
            .is_err()
        {
            break;
        }
        let is_open = loop {
            match attacker.receive().await {
                Some(frame) if frame.kind == PING => break true,
                Some(_) => {}
                None => break false,
            }
        };
        if !is_open || attacker.stream.write_all(&reset(stream)).await.is_err() {
            break;
        }
        count += 1;
    }
    assert!((20..100).contains(&count), "{count}");
}

#[tokio::test]
async fn headers_without_end_close_the_connection() {
    let served = serve(Limits::default()).await;
    for piece in [&b""[..], &[0x00, 0x01, b'a', 0x01, b'b'].repeat(1_000)] {
        let mut attacker = Attacker::connect(served.address).await;
        attacker.send(&frame(HEADERS, 0, 1, &head())).await;
        attacker.flood(&frame(CONTINUATION, 0, 1, piece)).await;
    }
}

/// The server sends an answer to each of these frames. It does not read further ones while the client does not read answers.
#[tokio::test]
async fn client_that_floods_with_control_frames_and_reads_nothing_is_disconnected_in_time() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = serve(limits).await;
    let settings: Vec<u8> = [
        INITIAL_WINDOW_SIZE.to_be_bytes().to_vec(),
        9u32.to_be_bytes().to_vec(),
    ]
    .concat();
    for control in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &settings),
        frame(SETTINGS, 0, 0, b""),
    ] {
        let mut attacker = Attacker::connect(served.address).await;
        attacker.flood(&control.repeat(1_000)).await;
    }
}

#[tokio::test]
async fn body_of_empty_or_tiny_frames_without_end_closes_the_connection() {
    let served = serve(Limits::default()).await;
    for piece in ["", " "] {
        let mut attacker = Attacker::connect(served.address).await;
        attacker.send(&headers(1)).await;
        attacker
            .flood(&frame(DATA, 0, 1, piece.as_bytes()).repeat(1_000))
            .await;
    }
}

#[tokio::test]
async fn requests_with_large_bodies_that_do_not_end_close_the_connection_at_the_memory_limit() {
    let limits = Limits {
        max_memory_bytes_per_connection: 2 << 20,
        ..Limits::default()
    };
    let served = serve(limits).await;
    let mut attacker = Attacker::connect(served.address).await;
    let (mut receive, mut send) = attacker.stream.split();
    let sending = async {
        for stream in streams().take(100) {
            let piece = frame(DATA, 0, stream, &[b' '; 16_000]);
            let body = piece.repeat(16);
            if send
                .write_all(&[headers(stream), body].concat())
                .await
                .is_err()
            {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut received = Vec::new();
    let ended = async {
        tokio::select! {
            () = sending => {}
            _ = receive.read_to_end(&mut received) => {}
        }
    };
    soon(ended, "the end of the connection").await;
}

/// A client that grants no window, and answers nothing.
#[tokio::test]
async fn replies_that_a_client_grants_no_window_for_are_bounded_and_released_in_time() {
    const BYTES: usize = 512 << 10;
    let limits = Limits {
        max_memory_bytes_per_connection: 2 << 20,
        write_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let served = serve(limits).await;
    let mut attacker = Attacker::connect_with(served.address, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"text","params":[{BYTES}]}}"#);
    let grant = |stream| frame(WINDOW_UPDATE, 0, stream, &(1u32 << 20).to_be_bytes());
    // The window of the connection is not the limit.
    let window = (1u32 << 30).to_be_bytes();
    attacker.send(&frame(WINDOW_UPDATE, 0, 0, &window)).await;
    let mut replaced = None;
    let mut stream = 1;
    while replaced.is_none() {
        attacker.send(&request(stream, &call)).await;
        // A call past the budget has a small reply, which says so.
        attacker.send(&request(stream + 2, &call)).await;
        attacker.send(&grant(stream + 2)).await;
        let body = attacker.receive_body(stream + 2).await.unwrap();
        if body.len() < BYTES {
            assert!(body.contains("-32008"), "{body}");
            replaced = Some(body);
        }
        stream += 4;
        assert!(stream < 100, "the budget is not reached");
    }
    // The held replies are released at the timeout.
    let whole = async {
        loop {
            attacker
                .send(&[request(stream, &call), grant(stream)].concat())
                .await;
            let body = attacker.receive_body(stream).await.unwrap();
            stream += 2;
            if body.len() > BYTES {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(whole, "room for replies").await;
    // Nothing is left of the first one.
    attacker.send(&grant(1)).await;
    assert_eq!(attacker.receive_body(1).await, None);
}

/// Returns the headers of a request for a WebSocket (RFC 8441): literals that are not indexed.
fn head_of_socket() -> Vec<u8> {
    let mut head = vec![0x86, 0x84];
    let mut literal = |name: &[u8], value: &str| {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    };
    literal(&[0x01], "localhost");
    literal(&[0x02], "CONNECT");
    literal(b"\x00\x09:protocol", "websocket");
    literal(b"\x00\x15sec-websocket-version", "13");
    head
}

/// Each WebSocket over HTTP/2 has the limits of a connection, and counts as one.
#[tokio::test]
async fn sockets_on_one_connection_count_as_connections() {
    /// `:status: 200`.
    const OK: u8 = 0x88;
    let limits = Limits {
        max_connections_per_address: 4,
        ..Limits::default()
    };
    let served = serve(limits).await;
    let mut attacker = Attacker::connect_with(served.address, &[(ENABLE_CONNECT, 1)]).await;
    let head = head_of_socket();
    let mut accepted = Vec::new();
    for stream in streams().take(6) {
        attacker
            .send(&frame(HEADERS, END_HEADERS, stream, &head))
            .await;
        loop {
            let frame = attacker.receive().await.unwrap();
            if frame.kind == HEADERS && frame.stream == stream {
                accepted.push(frame.payload[0] == OK);
                break;
            }
        }
    }
    // The connection itself is the first of four.
    assert_eq!(accepted, [true, true, true, false, false, false]);
    // The place of a socket is free when it ends.
    attacker.send(&reset(1)).await;
    let freed = async {
        for stream in streams().skip(6) {
            attacker
                .send(&frame(HEADERS, END_HEADERS, stream, &head))
                .await;
            loop {
                let frame = attacker.receive().await.unwrap();
                if frame.kind == HEADERS && frame.stream == stream {
                    if frame.payload[0] == OK {
                        return;
                    }
                    break;
                }
            }
        }
    };
    soon(freed, "a place").await;
}

#[tokio::test]
async fn sockets_that_are_opened_and_reset_close_the_connection_at_the_limit() {
    let limits = Limits {
        max_net_cancellations: 20,
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    let served = serve(limits).await;
    let mut attacker = Attacker::connect_with(served.address, &[(ENABLE_CONNECT, 1)]).await;
    let mut count = 0;
    'sockets: for stream in streams().take(1_000) {
        let open = frame(HEADERS, END_HEADERS, stream, &head_of_socket());
        if attacker.stream.write_all(&open).await.is_err() {
            break;
        }
        loop {
            match attacker.receive().await {
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => break,
                Some(_) => {}
                None => break 'sockets,
            }
        }
        if attacker.stream.write_all(&reset(stream)).await.is_err() {
            break;
        }
        count += 1;
    }
    assert!((20..100).contains(&count), "{count}");
}
