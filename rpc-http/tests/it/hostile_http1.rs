//! Hostile clients of HTTP/1.1: requests with two meanings, and clients that are slow.

use std::net::SocketAddr;
use std::time::Duration;

use rpc_http::HttpServer;
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Limits, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::stream_client::soon;
use crate::support::{CalculatorServer, Desk, exchange, post_as, serve, serve_set};

const ADD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}"#;

/// The start of a valid request.
const HEAD: &str = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// Sends a request and a valid one after it, and returns the statuses of the responses.
async fn statuses(address: SocketAddr, request: &str) -> Vec<u16> {
    let last = format!(
        "{HEAD}connection: close\r\ncontent-length: {}\r\n\r\n{ADD}",
        ADD.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed the connection.
    let _ = stream
        .write_all(format!("{request}{last}").as_bytes())
        .await;
    let mut received = Vec::new();
    let _ = soon(stream.read_to_end(&mut received), "the responses").await;
    let text = String::from_utf8(received).unwrap();
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .map(|head| head[..3].parse().expect("a status"))
        .collect()
}

fn with_headers(headers: &str, body: &str) -> String {
    format!("{HEAD}{headers}\r\n{body}")
}

/// A request that its recipients could understand differently is refused, and its connection is closed, so that nothing is
/// taken for a second request.
#[tokio::test]
async fn ambiguous_request_is_refused_and_its_connection_is_closed() {
    let address = serve().await;
    let length = ADD.len();
    let sized =
        |headers: &str| with_headers(&format!("{headers}\r\ncontent-length: {length}\r\n"), ADD);
    let chunked = |head: &str, body: &str| {
        with_headers(&format!("{head}transfer-encoding: chunked\r\n"), body)
    };
    let cases = [
        ("two lengths", sized("content-length: 3")),
        (
            "a list of lengths",
            with_headers("content-length: 3, 54\r\n", ADD),
        ),
        (
            "a signed length",
            with_headers(&format!("content-length: +{length}\r\n"), ADD),
        ),
        (
            "a negative length",
            with_headers("content-length: -1\r\n", ADD),
        ),
        (
            "a hexadecimal length",
            with_headers("content-length: 0x36\r\n", ADD),
        ),
        (
            "a length past 64 bits",
            with_headers("content-length: 18446744073709551670\r\n", ADD),
        ),
        (
            "an unknown transfer coding",
            with_headers("transfer-encoding: xchunked\r\n", ADD),
        ),
        (
            "chunked is not last",
            with_headers("transfer-encoding: chunked, identity\r\n", ADD),
        ),
        ("a space before the colon", sized("x-name : value")),
        (
            "a space before a framing header's colon",
            with_headers(&format!("content-length : {length}\r\n"), ADD),
        ),
        ("a folded header", sized("x-name: value\r\n continued")),
        (
            "a folded first header",
            format!(
                "POST / HTTP/1.1\r\n host: localhost\r\n{}",
                &sized("x-a: b")[17..]
            ),
        ),
        ("a NUL in a value", sized("x-name: a\0b")),
        ("a CR in a value", sized("x-name: a\rcontent-length: 3")),
        ("a header without a colon", sized("x-name")),
        ("a header without a name", sized(": value")),
        ("a control character in a name", sized("x-na\u{1}me: value")),
        ("no version", "POST /\r\nhost: localhost\r\n\r\n".to_owned()),
        (
            "an unknown version",
            sized("x-a: b").replacen("HTTP/1.1", "HTTP/1.2", 1),
        ),
        (
            "a space in the path",
            sized("x-a: b").replacen("/ ", "/ / ", 1),
        ),
        (
            "transfer-encoding in HTTP/1.0",
            chunked("", "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1),
        ),
    ];
    for (what, request) in cases {
        assert_eq!(statuses(address, &request).await, [400], "{what}");
    }
}

/// The body of a request ends where RFC 9112 says that it does.
#[tokio::test]
async fn chunked_body_that_is_malformed_ends_the_connection() {
    let address = serve().await;
    let bodies = [
        ("no size", "\r\n"),
        ("a size that is not hexadecimal", "5x\r\n"),
        ("a signed size", "+36\r\n"),
        ("a size with a prefix", "0x36\r\n"),
        ("a size past 64 bits", "10000000000000036\r\n"),
        ("a bare LF after the size", "36\n"),
        ("a chunk that is longer than its size", "35\r\n"),
        ("a chunk that is shorter than its size", "37\r\n"),
        ("a bare LF within an extension", "36;a\nb\r\n"),
    ];
    for (what, size) in bodies {
        let request = with_headers(
            "transfer-encoding: chunked\r\n",
            &format!("{size}{ADD}\r\n0\r\n\r\n"),
        );
        assert_eq!(statuses(address, &request).await, [400], "{what}");
    }
}

/// What RFC 9112 lets a server accept, it accepts in the one way that the RFC allows.
#[tokio::test]
async fn unusual_request_has_the_one_meaning_that_the_rfc_gives_it() {
    let address = serve().await;
    let length = ADD.len();
    let chunks = format!("{length:x};name=value\r\n{ADD}\r\n0\r\n\r\n");
    let cases = [
        (
            "the same length twice",
            with_headers(
                &format!("content-length: {length}\r\ncontent-length: {length}\r\n"),
                ADD,
            ),
        ),
        // Section 2.2: a recipient may recognise a single LF.
        (
            "bare LF between headers",
            with_headers(&format!("content-length: {length}\r\n"), ADD).replacen(
                "\r\ncontent-type",
                "\ncontent-type",
                1,
            ),
        ),
        (
            "an empty line first",
            format!(
                "\r\n{}",
                with_headers(&format!("content-length: {length}\r\n"), ADD)
            ),
        ),
        (
            "a trailer",
            with_headers(
                "transfer-encoding: chunked\r\n",
                &chunks.replace("0\r\n\r\n", "0\r\ncontent-length: 3\r\n\r\n"),
            ),
        ),
    ];
    for (what, request) in cases {
        assert_eq!(statuses(address, &request).await, [200, 200], "{what}");
    }
    // Section 6.3: the transfer coding counts, and the connection is closed.
    let (length, coding) = ("content-length: 3\r\n", "transfer-encoding: chunked\r\n");
    for headers in [format!("{length}{coding}"), format!("{coding}{length}")] {
        let request = with_headers(&headers, &chunks);
        assert_eq!(statuses(address, &request).await, [200], "{headers}");
    }
}

#[tokio::test]
async fn encoded_body_has_status_415_and_is_not_decoded() {
    let address = serve().await;
    for encoding in ["gzip", "br", "zstd", "deflate", "identity, gzip"] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n");
        assert_eq!(
            post_as(address, &headers, ADD).await.status,
            415,
            "{encoding}"
        );
    }
    let twice = "content-type: application/json\r\ncontent-encoding: identity\r\ncontent-encoding: gzip\r\n";
    assert_eq!(post_as(address, twice, ADD).await.status, 415);
    let coded = with_headers(
        "connection: close\r\ntransfer-encoding: gzip, chunked\r\n",
        "0\r\n\r\n",
    );
    assert_eq!(exchange(address, &coded).await.status, 415);
}

#[tokio::test]
async fn headers_past_their_limits_have_status_431() {
    let address = serve().await;
    let long = with_headers(&format!("x-long: {}\r\n", "a".repeat(64 << 10)), "");
    assert_eq!(statuses(address, &long).await, [431], "a long header");
    let many: String = (0..101).map(|n| format!("x-{n}: a\r\n")).collect();
    assert_eq!(
        statuses(address, &with_headers(&many, "")).await,
        [431],
        "many headers"
    );
    let target = format!("POST /{} HTTP/1.1\r\n", "a".repeat(66_000));
    assert_eq!(statuses(address, &target).await, [431], "a long target");
}

/// Starts a server with short times.
async fn serve_impatient(idle: Duration, limits: Limits) -> SocketAddr {
    let services = ServiceSet::builder()
        .service(CalculatorServer::new(Desk))
        .limits(limits);
    let server = HttpServer::new(services.build().unwrap()).idle_timeout(idle);
    let listener = server.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    address
}

/// Sends bytes one at a time, a few milliseconds apart, and returns the time after which the server has closed the connection.
async fn closed_after(address: SocketAddr, sent: &str) -> Duration {
    let (mut receive, mut send) = TcpStream::connect(address).await.unwrap().into_split();
    let begun = Instant::now();
    let sent = sent.to_owned();
    let sending = tokio::spawn(async move {
        for byte in sent.bytes().cycle() {
            if send.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A client that sends nothing keeps its half open.
        std::future::pending::<()>().await;
    });
    let _ = soon(receive.read_to_end(&mut Vec::new()), "the end").await;
    sending.abort();
    begun.elapsed()
}

#[tokio::test]
async fn client_that_sends_no_complete_headers_is_disconnected_in_time() {
    let idle = Duration::from_millis(300);
    let address = serve_impatient(idle, Limits::default()).await;
    // The second one is a part of what a client of HTTP/2 sends first.
    for sent in ["", "PRI * HTTP/2.0", "POST / HTTP/1.1\r\nx-name: "] {
        let elapsed = match sent.starts_with("PRI") {
            true => {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let begun = Instant::now();
                stream.write_all(sent.as_bytes()).await.unwrap();
                let _ = soon(stream.read_to_end(&mut Vec::new()), "the end").await;
                begun.elapsed()
            }
            false => closed_after(address, sent).await,
        };
        assert!(elapsed >= idle, "{sent:?}: {elapsed:?}");
        assert!(elapsed < idle * 20, "{sent:?}: {elapsed:?}");
    }
}

#[rpc]
trait Shelf {
    /// Returns text of some bytes.
    async fn text(&self, bytes: usize) -> String;
}

struct Texts;

impl Shelf for Texts {
    async fn text(&self, bytes: usize) -> String {
        "a".repeat(bytes)
    }
}

/// A client that asks for large replies and reads none of them.
#[tokio::test]
async fn client_that_reads_no_response_is_disconnected_in_time() {
    let limits = Limits {
        write_timeout: Duration::from_millis(300),
        max_response_bytes: 16 << 20,
        ..Limits::default()
    };
    let services = ServiceSet::builder()
        .service(ShelfServer::new(Texts))
        .limits(limits);
    let address = serve_set(services.build().unwrap()).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"text","params":[12000000]}"#;
    let request = format!("{HEAD}content-length: {}\r\n\r\n{call}", call.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    // A connection that the server has closed is reset, since the server has not sent everything.
    let reset = async {
        while stream.write_all(b"\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(15), reset)
        .await
        .expect("the server closes the connection");
}
