//! The settings of QUIC, and sockets that clients share or that the program has opened.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use quinn::{Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime, TransportConfig};
use rpc_runtime::{
    BindError, CallError, Client, ClientBuilder, ClientSocket, CongestionController, ConnectError,
    Context, Identity, Limits, Server, Stream, TransportSettings, Trust, rpc,
};
use tests::message::call_line;
use tests::peer::RawClient;
use tests::support::{ANY_PORT, DEADLINE, TestServer, soon};

#[rpc]
trait Desk {
    async fn port(&self, cx: &Context) -> u16;
    async fn text(&self, length: usize) -> String;
    /// Sends one item, and never ends.
    fn watch(&self) -> impl Stream<Item = u32>;
    /// Sends items without end.
    fn numbers(&self) -> impl Stream<Item = u64>;
}

struct Clerk;

impl Desk for Clerk {
    async fn port(&self, cx: &Context) -> u16 {
        cx.peer().unwrap().port()
    }

    async fn text(&self, length: usize) -> String {
        "x".repeat(length)
    }

    fn watch(&self) -> impl Stream<Item = u32> {
        stream::iter([1]).chain(stream::pending())
    }

    fn numbers(&self) -> impl Stream<Item = u64> {
        stream::iter(0..)
    }
}

fn settings() -> TransportSettings {
    TransportSettings::default()
}

/// Starts a server with these settings.
fn serve(transport: TransportSettings) -> TestServer {
    TestServer::bind(|builder| {
        let builder = builder.service(DeskServer::new(Clerk)).transport(transport);
        builder.bind(ANY_PORT)
    })
}

async fn connect(builder: ClientBuilder, address: SocketAddr) -> DeskClient {
    DeskClient::new(soon(builder.connect(address)).await.unwrap())
}

#[tokio::test]
async fn calls_succeed_with_each_congestion_controller_and_with_the_smallest_windows() {
    use CongestionController::{Bbr, Cubic, NewReno};
    let smallest = settings()
        .max_mtu(1_200)
        .stream_receive_window(64 << 10)
        .receive_window(64 << 10)
        .send_window(64 << 10)
        .socket_buffer_bytes(64 << 10)
        .max_streams(16);
    let controllers = [Cubic, Bbr, NewReno].map(|it| settings().congestion_controller(it));
    for settings in controllers.into_iter().chain([smallest]) {
        let server = serve(settings.clone());
        let builder = server.client().transport(settings);
        let desk = connect(builder, server.address).await;
        let text = soon(desk.text(1 << 20)).await.unwrap();
        assert_eq!(text.len(), 1 << 20);
    }
}

#[tokio::test]
async fn setting_outside_its_range_is_an_error_of_the_server_and_of_each_way_to_connect() {
    let wrong = || settings().idle_timeout(Duration::ZERO);
    let builder = || Client::builder().transport(wrong());
    let address: SocketAddr = ([127, 0, 0, 1], 4433).into();
    for failed in [
        builder().connect(address).await.err(),
        builder().connect_lazy(address).err(),
        builder().connect_many([address]).await.err(),
        builder().balanced().err(),
    ] {
        assert!(
            matches!(failed, Some(ConnectError::Transport(_))),
            "{failed:?}"
        );
    }
    let server =
        || Server::builder(Identity::self_signed(["localhost"]).unwrap()).transport(wrong());
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    for failed in [
        server().bind(ANY_PORT).err(),
        server().bind_socket(socket).err(),
    ] {
        assert!(
            matches!(failed, Some(BindError::Transport(_))),
            "{failed:?}"
        );
    }
    let failed = ClientSocket::bind(ANY_PORT, &wrong()).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn connection_without_calls_outlives_the_shorter_idle_timeout_of_either_end() {
    let shortest = || settings().idle_timeout(Duration::from_secs(1));
    let idle = async |client: TransportSettings, server: TransportSettings| {
        let server = serve(server);
        // A client that does not reconnect is closed when it loses its connection.
        let client = server.client().transport(client);
        let client = soon(client.connect(server.address)).await.unwrap();
        let lost = tokio::time::timeout(Duration::from_millis(3_500), client.closed());
        assert!(lost.await.is_err());
        soon(DeskClient::new(client).text(1)).await.unwrap();
    };
    tokio::join!(
        idle(shortest(), settings()),
        idle(settings(), shortest()),
        idle(shortest(), shortest()),
    );
}

#[tokio::test]
async fn streams_that_are_not_read_block_no_calls_with_the_smallest_windows() {
    let server = serve(settings());
    let smallest = settings()
        .stream_receive_window(64 << 10)
        .receive_window(64 << 10);
    let desk = connect(server.client().transport(smallest), server.address).await;
    let mut unread = Vec::new();
    for _ in 0..12 {
        let mut numbers = desk.numbers();
        assert_eq!(soon(numbers.next()).await.unwrap().unwrap(), 0);
        unread.push(numbers);
    }
    for _ in 0..20 {
        assert_eq!(soon(desk.text(300_000)).await.unwrap().len(), 300_000);
    }
}

#[tokio::test]
async fn server_serves_on_a_socket_of_the_program() {
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let address = socket.local_addr().unwrap();
    let server = TestServer::bind(|builder| {
        let builder = builder.service(DeskServer::new(Clerk));
        builder.bind_socket(socket)
    });
    assert_eq!(server.address, address);
    let desk = connect(server.client(), address).await;
    assert_eq!(soon(desk.text(3)).await.unwrap(), "xxx");
}

#[tokio::test]
async fn clients_share_a_socket_and_move_together() {
    let (one, other) = (serve(settings()), serve(settings()));
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let port = socket.local_addr().unwrap().port();
    let socket = ClientSocket::from_std(socket, &settings()).unwrap();
    assert_eq!(socket.local_addr().unwrap().port(), port);
    let builders = [one.client(), one.client(), other.client()];
    let addresses = [one.address, one.address, other.address];
    let mut desks = Vec::new();
    for (builder, address) in builders.into_iter().zip(addresses) {
        desks.push(connect(builder.socket(&socket), address).await);
    }
    for desk in &desks {
        assert_eq!(soon(desk.port()).await.unwrap(), port);
    }
    let next = UdpSocket::bind(ANY_PORT).unwrap();
    let port = next.local_addr().unwrap().port();
    socket.rebind(next).unwrap();
    for desk in &desks {
        assert_eq!(soon(desk.port()).await.unwrap(), port);
    }
}

#[tokio::test]
async fn socket_of_clients_moves_outside_the_runtime_and_keeps_its_family() {
    let server = serve(settings());
    let socket = ClientSocket::bind(ANY_PORT, &settings()).unwrap();
    let desk = connect(server.client().socket(&socket), server.address).await;
    let other = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let failed = socket.rebind(other).unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(
        soon(desk.port()).await.unwrap(),
        socket.local_addr().unwrap().port()
    );
    let next = UdpSocket::bind(ANY_PORT).unwrap();
    let port = next.local_addr().unwrap().port();
    let moved = std::thread::spawn(move || socket.rebind(next));
    moved.join().unwrap().unwrap();
    assert_eq!(soon(desk.port()).await.unwrap(), port);
}

#[tokio::test]
async fn client_on_a_shared_socket_cannot_move_alone() {
    let server = serve(settings());
    let socket = ClientSocket::bind(ANY_PORT, &settings()).unwrap();
    let client = soon(server.client().socket(&socket).connect(server.address)).await;
    let failed = client.unwrap().rebind().unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn ipv6_socket_reaches_servers_of_both_families() {
    let identity = Identity::self_signed(["::1", "127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let socket = ClientSocket::bind((Ipv6Addr::UNSPECIFIED, 0), &settings()).unwrap();
    for ip in [
        SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        (Ipv4Addr::LOCALHOST, 0).into(),
    ] {
        let server = Server::builder(identity.clone()).service(DeskServer::new(Clerk));
        let server = server.bind(ip).unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run());
        let builder = Client::builder().trust(trust.clone()).socket(&socket);
        let desk = connect(builder, address).await;
        let port = socket.local_addr().unwrap().port();
        assert_eq!(soon(desk.port()).await.unwrap(), port);
    }
}

#[tokio::test]
async fn more_than_a_hundred_streams_of_a_client_are_open_if_both_ends_allow_it() {
    let server = TestServer::bind(|builder| {
        let limits = Limits {
            max_concurrent_calls_per_connection: 1_000,
            ..Limits::default()
        };
        let builder = builder.service(DeskServer::new(Clerk)).limits(limits);
        builder
            .transport(settings().max_streams(400))
            .bind(ANY_PORT)
    });
    let builder = server.client().max_dedicated_streams(300);
    let desk = connect(builder, server.address).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut watch = desk.watch();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap(), 1);
        open.push(watch);
    }
    // Not `text`: its large replies to other tests let it choose a dedicated stream.
    soon(desk.port()).await.unwrap();
    // The client's own limit.
    let waiting = soon(desk.port().dedicated_stream().timeout(DEADLINE)).await;
    let is_reported = matches!(waiting, Err(CallError::TimeoutAtLimit(_)));
    assert!(is_reported, "{waiting:?}");
    open.pop();
    soon(desk.port().dedicated_stream()).await.unwrap();
}

#[tokio::test]
async fn streams_of_a_client_past_the_limit_of_the_server_wait() {
    let server = serve(settings().max_streams(16));
    let desk = connect(server.client(), server.address).await;
    let mut open = Vec::new();
    // One stream is that of small calls.
    soon(desk.port()).await.unwrap();
    for _ in 0..15 {
        let mut watch = desk.watch();
        assert_eq!(soon(watch.next()).await.unwrap().unwrap(), 1);
        open.push(watch);
    }
    let waiting = soon(desk.port().dedicated_stream().timeout(DEADLINE)).await;
    let is_reported = matches!(waiting, Err(CallError::TimeoutAtLimit(_)));
    assert!(is_reported, "{waiting:?}");
    open.clear();
    soon(desk.port().dedicated_stream()).await.unwrap();
}

/// Returns the average size of the packets of a reply of 1 MiB, in bytes, once it exceeds `size`.
async fn packets_larger_than(size: u64, server: &TestServer) -> u64 {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(6_500);
    let mut transport = TransportConfig::default();
    transport.mtu_discovery_config(Some(discovery));
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(6_500).unwrap();
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime)).unwrap();
    let client = RawClient::new(server).transport(transport);
    let connection = soon(client.connecting(&endpoint)).await.unwrap();
    soon(async {
        loop {
            let before = connection.stats().udp_rx;
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            let call = call_line(1, "text", "[1048576]");
            send.write_all(call.as_bytes()).await.unwrap();
            send.finish().unwrap();
            recv.read_to_end(2 << 20).await.unwrap();
            let received = connection.stats().udp_rx;
            let bytes = received.bytes - before.bytes;
            let average = bytes / (received.datagrams - before.datagrams);
            // The client's own packets, too.
            if average > size && connection.stats().path.current_mtu > size as u16 {
                return average;
            }
        }
    })
    .await
}

#[tokio::test]
async fn packets_grow_to_the_largest_size_that_both_ends_allow() {
    let average = packets_larger_than(4_000, &serve(settings().max_mtu(6_500))).await;
    assert!(average <= 6_500, "{average}");
    let average = packets_larger_than(1_250, &serve(settings())).await;
    assert!(average <= 1_452, "{average}");
}
