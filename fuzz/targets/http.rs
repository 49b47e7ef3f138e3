//! A server over HTTP answers any bytes of a client without a panic, and its connection ends with the client. Over WebSocket, it
//! sends valid JSON alone.
#![no_main]

use std::time::Duration;

use fuzz::paused_runtime;
use fuzz::service::{Clerk, DeskServer};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use libfuzzer_sys::fuzz_target;
use rpc_http::HttpService;
use rpc_runtime::gateway::ServiceSet;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::timeout;
use tower_service::Service;

/// What the bytes of an input follow.
const STARTS: [&[u8]; 4] = [
    b"",
    b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
];

const WEBSOCKET: usize = 3;

/// The time after which a connection without a client has ended.
const LONG: Duration = Duration::from_secs(600);

fuzz_target!(|input: &[u8]| {
    let Some((start, bytes)) = input.split_first() else {
        return;
    };
    let start = usize::from(*start) % STARTS.len();
    let sent = [STARTS[start], bytes].concat();
    let received = paused_runtime().block_on(exchange(&sent));
    if start == WEBSOCKET {
        check_frames(&received);
    }
});

/// Sends bytes to a server, and returns what it sends.
async fn exchange(sent: &[u8]) -> Vec<u8> {
    let services = ServiceSet::builder().service(DeskServer::new(Clerk));
    let service = HttpService::new(services.build().expect("services"));
    let (client, server) = duplex(64 << 10);
    let serving = tokio::spawn(async move {
        let answer = service_fn(move |request| service.clone().call(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(server), answer);
        let _ = connection.await;
    });
    let (mut receive, mut send) = split(client);
    let mut received = Vec::new();
    let exchanged = async {
        let sending = async {
            // The server may have ended the connection.
            let _ = send.write_all(sent).await;
            let _ = send.shutdown().await;
        };
        let receiving = receive.read_to_end(&mut received);
        let ((), received) = tokio::join!(sending, receiving);
        received.expect("bytes in memory");
        serving.await.expect("a server that does not panic");
    };
    timeout(LONG, exchanged)
        .await
        .expect("a connection that ends");
    received
}

/// Checks that each message of the server is valid JSON.
fn check_frames(received: &[u8]) {
    let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end.filter(|_| received.starts_with(b"HTTP/1.1 101 ")) else {
        return;
    };
    let mut frames = &received[end + 4..];
    while let [first, second, rest @ ..] = frames {
        let (length, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, rest) => {
                let (length, rest) = rest.split_at(8);
                let length = u64::from_be_bytes(length.try_into().expect("8 bytes"));
                (usize::try_from(length).expect("a length"), rest)
            }
            (short, rest) => (usize::from(*short), rest),
        };
        // The end of the last frame may be lost.
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            return;
        };
        if *first == 0x81 {
            serde_json::from_slice::<&RawValue>(payload).expect("valid JSON");
        }
        frames = rest;
    }
}
