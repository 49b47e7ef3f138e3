//! A client that connects over HTTP/2 where QUIC does not work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rpc_runtime::event::Event;
use rpc_runtime::{CallError, Client, ClientBuilder, ConnectError, TransportKind};
use tests::support::{ANY_PORT, eventually, soon};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::service::{Desk, KindsClient, KindsServer};
use crate::support::Doors;

/// A network that passes a number of packets of UDP, both ways counted together, and drops the others.
struct Gate {
    address: SocketAddr,
    left: Arc<AtomicI64>,
    passing: AbortHandle,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

impl Gate {
    async fn open(server: SocketAddr, packets: i64) -> Self {
        let front = UdpSocket::bind(ANY_PORT).await.unwrap();
        let address = front.local_addr().unwrap();
        let left = Arc::new(AtomicI64::new(packets));
        let passing = tokio::spawn(pass(front, server, Arc::clone(&left))).abort_handle();
        Self {
            address,
            left,
            passing,
        }
    }

    /// Passes so many packets from now on.
    fn pass(&self, packets: i64) {
        self.left.store(packets, Ordering::Relaxed);
    }
}

/// Passes packets between clients and a server. Each client has a socket of its own towards the server.
async fn pass(front: UdpSocket, server: SocketAddr, left: Arc<AtomicI64>) {
    let front = Arc::new(front);
    let mut clients = std::collections::HashMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, client)) = front.recv_from(&mut buffer).await else {
            continue;
        };
        if left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            continue;
        }
        let back = match clients.get(&client) {
            Some(back) => Arc::clone(back),
            None => {
                let back = Arc::new(UdpSocket::bind(ANY_PORT).await.unwrap());
                back.connect(server).await.unwrap();
                clients.insert(client, Arc::clone(&back));
                let sockets = (Arc::clone(&front), Arc::clone(&back));
                tokio::spawn(pass_back(sockets, client, Arc::clone(&left)));
                back
            }
        };
        let _ = back.send(&buffer[..length]).await;
    }
}

/// Passes packets from the server to a client.
async fn pass_back(
    (front, back): (Arc<UdpSocket>, Arc<UdpSocket>),
    client: SocketAddr,
    left: Arc<AtomicI64>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = back.recv(&mut buffer).await {
        if left.fetch_sub(1, Ordering::Relaxed) > 0 {
            let _ = front.send_to(&buffer[..length], client).await;
        }
    }
}

/// Returns a builder whose client reports the transports that it has connected over.
fn observed(doors: &Doors) -> (ClientBuilder, UnboundedReceiver<(String, TransportKind)>) {
    let (connected, events): (UnboundedSender<_>, _) = unbounded_channel();
    let builder = doors
        .client()
        .fallback(doors.url())
        .quic_retry_backoff(Duration::from_millis(100), Duration::from_millis(400))
        .on_event(move |event| {
            if let Event::Connected {
                server, transport, ..
            } = event
            {
                let _ = connected.send(((*server).to_owned(), *transport));
            }
        });
    (builder, events)
}

async fn doors() -> (Doors, Desk) {
    let desk = Desk::default();
    (Doors::open(KindsServer::new(desk.clone())).await, desk)
}

const ALL: i64 = i64::MAX;

#[tokio::test]
async fn client_uses_quic_where_it_works() {
    let (doors, _) = doors().await;
    let (builder, mut events) = observed(&doors);
    let client = soon(builder.connect(doors.quic)).await.unwrap();
    let connected = (doors.quic.to_string(), TransportKind::Quic);
    assert_eq!(soon(events.recv()).await, Some(connected));
    assert_eq!(client.transport(), Some(TransportKind::Quic));
}

#[tokio::test]
async fn client_uses_http2_where_all_udp_is_dropped() {
    let (doors, _) = doors().await;
    let gate = Gate::open(doors.quic, 0).await;
    let (builder, mut events) = observed(&doors);
    let client = soon(builder.connect(gate.address)).await.unwrap();
    let connected = (doors.url(), TransportKind::Http2);
    assert_eq!(soon(events.recv()).await, Some(connected));
    assert_eq!(client.transport(), Some(TransportKind::Http2));
    let kinds = KindsClient::new(client);
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn client_that_connects_lazily_uses_http2_where_all_udp_is_dropped() {
    let (doors, _) = doors().await;
    let gate = Gate::open(doors.quic, 0).await;
    let (builder, _) = observed(&doors);
    let kinds = KindsClient::new(builder.connect_lazy(gate.address).unwrap());
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn no_call_is_lost_where_only_the_first_packets_pass() {
    let (doors, _) = doors().await;
    for packets in 1..=8 {
        let gate = Gate::open(doors.quic, packets).await;
        let (builder, _) = observed(&doors);
        let client = soon(builder.connect(gate.address)).await.unwrap();
        let is_http2 = client.transport() == Some(TransportKind::Http2);
        assert!(is_http2, "after {packets} packets");
        let kinds = KindsClient::new(client);
        let calls = (0..20).map(|n| kinds.add(n, 1));
        for sum in soon(futures_util::future::join_all(calls)).await {
            sum.unwrap();
        }
    }
}

#[tokio::test]
async fn fresh_connection_over_quic_that_falls_silent_is_replaced() {
    let (doors, desk) = doors().await;
    let gate = Gate::open(doors.quic, ALL).await;
    let (builder, mut events) = observed(&doors);
    let client = soon(builder.connect(gate.address)).await.unwrap();
    let kinds = KindsClient::new(client.clone());
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    assert_eq!(soon(events.recv()).await.unwrap().1, TransportKind::Quic);
    let waiting = tokio::spawn(kinds.hang().into_future());
    let mut running = desk.running.subscribe();
    soon(running.wait_for(|running| *running == 1))
        .await
        .unwrap();
    gate.pass(0);
    assert_eq!(soon(events.recv()).await.unwrap().1, TransportKind::Http2);
    let lost = soon(waiting).await.unwrap();
    assert!(
        matches!(lost, Err(CallError::Connection { .. })),
        "{lost:?}"
    );
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    assert_eq!(client.transport(), Some(TransportKind::Http2));
}

#[tokio::test]
async fn client_returns_to_quic_when_it_works_and_calls_in_flight_continue() {
    let (doors, desk) = doors().await;
    let gate = Gate::open(doors.quic, 0).await;
    let (builder, mut events) = observed(&doors);
    let client = soon(builder.connect(gate.address)).await.unwrap();
    let kinds = KindsClient::new(client.clone());
    let waiting = tokio::spawn(kinds.hang().into_future());
    let mut running = desk.running.subscribe();
    soon(running.wait_for(|running| *running == 1))
        .await
        .unwrap();
    assert_eq!(soon(events.recv()).await.unwrap().1, TransportKind::Http2);
    gate.pass(ALL);
    assert_eq!(soon(events.recv()).await.unwrap().1, TransportKind::Quic);
    eventually(|| client.transport() == Some(TransportKind::Quic)).await;
    assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    assert_eq!(*running.borrow(), 1, "the call over HTTP/2 still runs");
    waiting.abort();
    soon(running.wait_for(|running| *running == 0))
        .await
        .unwrap();
}

#[tokio::test]
async fn client_stays_with_http2_while_quic_passes_only_the_handshake() {
    let (doors, _) = doors().await;
    let gate = Gate::open(doors.quic, 0).await;
    let (builder, mut events) = observed(&doors);
    let client = soon(builder.connect(gate.address)).await.unwrap();
    assert_eq!(soon(events.recv()).await.unwrap().1, TransportKind::Http2);
    let kinds = KindsClient::new(client.clone());
    for _ in 0..3 {
        gate.pass(8);
        eventually(|| gate.left.load(Ordering::Relaxed) <= 0).await;
        assert_eq!(soon(kinds.add(1, 2)).await.unwrap(), 3);
    }
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn each_of_several_servers_has_the_fallback() {
    let (doors, _) = doors().await;
    let dropping = Gate::open(doors.quic, 0).await;
    let passing = Gate::open(doors.quic, ALL).await;
    let (builder, mut events) = observed(&doors);
    let builder = builder.quic_retry_backoff(Duration::from_secs(600), Duration::from_secs(600));
    let connecting = builder.connect_many([dropping.address, passing.address]);
    let client = soon(connecting).await.unwrap();
    let mut transports = [(); 2].map(|()| None);
    for transport in &mut transports {
        *transport = Some(soon(events.recv()).await.unwrap().1);
    }
    assert!(
        transports.contains(&Some(TransportKind::Quic)),
        "{transports:?}"
    );
    assert!(
        transports.contains(&Some(TransportKind::Http2)),
        "{transports:?}"
    );
    let kinds = KindsClient::new(client);
    for n in 0..20 {
        assert_eq!(soon(kinds.add(n, 1)).await.unwrap(), n + 1);
    }
}

#[tokio::test]
async fn fallback_without_a_url_is_an_error_when_the_client_connects() {
    let connected = Client::builder()
        .fallback("127.0.0.1:1")
        .connect("127.0.0.1:1")
        .await;
    match connected {
        Err(ConnectError::Address(error)) => assert!(
            error
                .to_string()
                .starts_with("`127.0.0.1:1` is no address; write `https://"),
            "{error}"
        ),
        other => panic!("{other:?}"),
    }
}
