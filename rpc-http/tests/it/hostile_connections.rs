//! Connections of hostile clients: those that do nothing, handshakes that stall, and what is reported of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_http::HttpServer;
use rpc_runtime::event::Event;
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Identity, Limits, Server, ServerBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listener::{call_over, client_config, connect_tls};
use crate::stream_client::soon;
use crate::support::{CalculatorServer, Desk, post, post_as, serve_set};

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}"#;

/// The events of a server, each as text.
#[derive(Debug, Default, Clone)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn record(&self, builder: ServerBuilder) -> ServerBuilder {
        let seen = Arc::clone(&self.0);
        builder.on_event(move |event| {
            let text = match event {
                Event::ConnectionOpened { peer, .. } => format!("opened {peer}"),
                Event::ConnectionClosed { peer, .. } => format!("closed {peer}"),
                Event::ConnectionRefused { peer, limit, .. } => format!("refused {peer} {limit}"),
                Event::HandshakeFailed { peer, reason, .. } => format!("failed {peer} {reason:?}"),
                Event::CallRejected { limit, code, .. } => format!("rejected {code} {limit}"),
                Event::StreamTimedOut { limit, .. } => format!("timed out {limit}"),
                _ => return,
            };
            seen.lock().unwrap().push(text);
        })
    }

    /// Waits for an event whose text starts with `start`, and returns it.
    async fn wait(&self, start: &str) -> String {
        let wait = async {
            loop {
                let found = self
                    .0
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|text| text.starts_with(start))
                    .cloned();
                if let Some(found) = found {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(wait, start).await
    }
}

/// Returns services whose events are recorded, and their identity.
fn services(limits: Limits) -> (ServiceSet, Seen, Identity) {
    let seen = Seen::default();
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let builder = seen.record(Server::builder(identity.clone()));
    let builder = builder.service(CalculatorServer::new(Desk)).limits(limits);
    (builder.build().unwrap(), seen, identity)
}

async fn serve(limits: Limits) -> (SocketAddr, Seen) {
    let (services, seen, _) = services(limits);
    (serve_set(services).await, seen)
}

async fn serve_tls(limits: Limits) -> (SocketAddr, Seen, Identity) {
    let (services, seen, identity) = services(limits);
    let listener = HttpServer::new(services)
        .tls()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    (address, seen, identity)
}

/// Waits until the server has closed a connection.
async fn closed(stream: &mut TcpStream) {
    let _ = soon(
        stream.read_to_end(&mut Vec::new()),
        "the end of the connection",
    )
    .await;
}

#[tokio::test]
async fn connection_is_reported_when_it_opens_and_closes() {
    let (address, seen) = serve(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    call_over(&mut stream, PING).await;
    seen.wait(&format!("opened {own}")).await;
    drop(stream);
    seen.wait(&format!("closed {own}")).await;
}

#[tokio::test]
async fn connections_that_do_nothing_are_refused_past_the_limit_and_reported() {
    let limits = Limits {
        max_connections_per_address: 8,
        ..Limits::default()
    };
    let (address, seen) = serve(limits).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let mut refused = TcpStream::connect(address).await.unwrap();
    closed(&mut refused).await;
    let event = seen.wait("refused").await;
    assert!(event.contains("max_connections_per_address (8)"), "{event}");
}

#[tokio::test]
async fn limits_of_calls_and_messages_are_reported() {
    let limits = Limits {
        max_request_bytes: 100,
        max_memory_bytes_per_connection: 1 << 20,
        max_batch_entries: 1,
        message_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let (address, seen) = serve(limits).await;
    assert!(post(address, "[1,2]").await.body.contains("-32010"));
    seen.wait("rejected -32010 max_batch_entries (1)").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    closed(&mut stream).await;
    seen.wait("timed out message_timeout").await;
    let events = "accept: text/event-stream\r\ncontent-type: application/json\r\n";
    let reply = post_as(address, events, &format!("{PING}{}", " ".repeat(100))).await;
    assert!(reply.body.contains("-32007"), "{}", reply.body);
    seen.wait("rejected -32007 max_request_bytes (100)").await;
}

#[tokio::test]
async fn plaintext_on_the_port_of_tls_ends_the_connection_and_is_reported() {
    let (address, seen, _) = serve_tls(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let own = stream.local_addr().unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    closed(&mut stream).await;
    seen.wait(&format!("failed {own}")).await;
}

#[tokio::test]
async fn handshake_of_tls_that_stalls_ends_in_time_and_is_reported() {
    let limits = Limits {
        handshake_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (address, seen, _) = serve_tls(limits).await;
    // The second one is the start of a record.
    for sent in [&b""[..], &[22, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let own = stream.local_addr().unwrap();
        stream.write_all(sent).await.unwrap();
        closed(&mut stream).await;
        let event = seen.wait(&format!("failed {own}")).await;
        assert!(event.ends_with("TimedOut"), "{event}");
    }
}

#[tokio::test]
async fn handshakes_past_the_limit_are_refused_until_the_oldest_makes_room() {
    let limits = Limits {
        max_handshakes: 4,
        handshake_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let (address, seen, identity) = serve_tls(limits).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(TcpStream::connect(address).await.unwrap());
    }
    // The address of a client has the most handshakes of all, so the oldest makes room when it is a second old.
    let served = async {
        loop {
            let config = client_config(&identity, None);
            if let Ok(stream) = connect_tls(address, config).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut stream = soon(served, "a handshake").await;
    let reply = call_over(&mut stream, PING).await;
    assert!(reply.contains(r#""result":null"#));
    closed(&mut stalled[0]).await;
    let event = seen.wait("refused").await;
    assert!(event.contains("max_handshakes (4)"), "{event}");
}
