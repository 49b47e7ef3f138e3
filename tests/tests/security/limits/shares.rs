//! One address takes only its share of a limit, so that another address is served. The peers use several loopback addresses.

use std::collections::HashSet;
use std::sync::Mutex;

use rpc_runtime::Client;
use tests::peer::RawServer;

use super::*;

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, number)
}

const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 200);

const HOUR: Duration = Duration::from_secs(3600);

/// Connections and calls of one address that exceed its share.
struct Flood {
    _connections: Vec<(RawConnection, RawStream)>,
}

impl Flood {
    /// Makes `calls` calls that do not end on each of `connections` connections.
    async fn start(server: &LimitedServer, ip: Ipv4Addr, connections: usize, calls: usize) -> Self {
        let mut kept = Vec::new();
        for _ in 0..connections {
            let connection = server.connect_from(ip).await.unwrap();
            let stream = connection.send(call(1, "wait", "[]").repeat(calls)).await;
            connection.wait_until_processed().await;
            kept.push((connection, stream));
        }
        Self { _connections: kept }
    }
}

#[tokio::test]
async fn address_takes_its_share_of_the_calls() {
    let server = LimitedServer::start(Limits {
        max_concurrent_calls: 64,
        ..Limits::default()
    });
    let _flood = Flood::start(&server, ADDRESS, 3, 40).await;
    assert_eq!(server.handlers.started(), 32);
    let neighbour = server.connect_from(NEIGHBOUR).await.unwrap();
    for served in 1..=100 {
        is_served(&neighbour).await;
        assert_eq!(server.handlers.started(), 32 + served);
    }
}

#[tokio::test]
async fn neighbour_is_served_while_sixteen_addresses_flood_with_calls_that_do_not_end() {
    let server = LimitedServer::start(Limits {
        max_concurrent_calls: 512,
        ..Limits::default()
    });
    let neighbour = server.connect_from(NEIGHBOUR).await.unwrap();
    let mut floods = Vec::new();
    for flooding in 1..=16 {
        floods.push(Flood::start(&server, host(flooding), 3, 200).await);
        for _ in 0..10 {
            is_served(&neighbour).await;
        }
    }
    is_served(&server.connect_from(host(201)).await.unwrap()).await;
}

#[tokio::test]
async fn call_past_the_share_of_its_address_is_rejected_if_configured() {
    let server = LimitedServer::start(Limits {
        max_concurrent_calls: 4,
        reject_excess_calls: true,
        ..Limits::default()
    });
    let _flood = Flood::start(&server, ADDRESS, 1, 2).await;
    let other = server.connect_from(ADDRESS).await.unwrap();
    let mut stream = other.send(call(1, "add", "[1,2]")).await;
    assert_eq!(stream.reply().await["error"]["code"], -32009);
    is_served(&server.connect_from(NEIGHBOUR).await.unwrap()).await;
}

#[tokio::test]
async fn waiting_call_of_a_neighbour_is_served_before_those_of_a_flooding_address() {
    let server = LimitedServer::start(Limits {
        max_concurrent_calls: 3,
        max_percent_per_address: 100,
        max_percent_per_network: 100,
        ..Limits::default()
    });
    let flooding = server.connect_from(ADDRESS).await.unwrap();
    let mut running = flooding.send(call(1, "wait", "[]")).await;
    server.has_started(1).await;
    let _flood = Flood::start(&server, ADDRESS, 2, 50).await;
    assert_eq!(server.handlers.started(), 3);
    let neighbour = server.connect_from(NEIGHBOUR).await.unwrap();
    let mut waiting = neighbour.send(call(1, "add", "[1,2]")).await;
    neighbour.wait_until_processed().await;
    assert_eq!(server.handlers.started(), 3);
    running.reset(CANCELLED);
    assert_eq!(waiting.reply().await, result(1, 3));
    server.has_started(5).await;
}

#[tokio::test]
async fn connections_past_the_share_of_an_address_are_refused() {
    let server = LimitedServer::start(Limits {
        max_connections: 8,
        ..Limits::default()
    });
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(server.connect_from(ADDRESS).await.unwrap());
    }
    assert_refused(server.connect_from(ADDRESS).await.err().unwrap());
    is_served(&server.connect_from(NEIGHBOUR).await.unwrap()).await;
    connections.pop().unwrap().close(0u32.into(), b"");
    is_served(&server.connect_when_allowed(ADDRESS).await).await;
}

/// Stalled handshakes from one address. The clients answer only packets that ask them to validate their address.
struct StalledHandshakes {
    /// The connection IDs of the clients whose handshakes the server has begun.
    begun: Arc<Mutex<HashSet<Vec<u8>>>>,
    relay: JoinHandle<()>,
    _connecting: Vec<quinn::Connecting>,
}

impl StalledHandshakes {
    async fn start(server: &LimitedServer, ip: Ipv4Addr, count: usize) -> Self {
        let near = UdpSocket::bind((ADDRESS, 0)).await.unwrap();
        let far = UdpSocket::bind((ip, 0)).await.unwrap();
        far.connect(server.server.address).await.unwrap();
        let client = server.client();
        let endpoint = client.endpoint();
        let near_address = near.local_addr().unwrap();
        let connecting = (0..count).map(|_| client.connecting_to(near_address, &endpoint));
        let connecting = connecting.collect();
        let begun = Arc::<Mutex<HashSet<Vec<u8>>>>::default();
        let relay = tokio::spawn({
            let begun = Arc::clone(&begun);
            async move {
                near.connect(endpoint.local_addr().unwrap()).await.unwrap();
                let (mut sent, mut received) = ([0; 1500], [0; 1500]);
                loop {
                    tokio::select! {
                        Ok(length) = near.recv(&mut sent) => {
                            let _ = far.send(&sent[..length]).await;
                        }
                        Ok(length) = far.recv(&mut received) => match received[0] & 0xf0 {
                            0xf0 => {
                                let _ = near.send(&received[..length]).await;
                            }
                            _ => {
                                let id = 6..6 + usize::from(received[5]);
                                begun.lock().unwrap().insert(received[id].to_vec());
                            }
                        },
                    }
                }
            }
        });
        Self {
            begun,
            relay,
            _connecting: connecting,
        }
    }

    fn begun(&self) -> usize {
        self.begun.lock().unwrap().len()
    }
}

impl Drop for StalledHandshakes {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// Connects while each of `addresses` addresses has `each` stalled handshakes.
async fn connect_beside_stalled_handshakes(addresses: u8, each: usize, limits: Limits) {
    let most = limits.max_handshakes;
    let server = LimitedServer::start(Limits {
        handshake_timeout: HOUR,
        ..limits
    });
    let mut stalled = Vec::new();
    for number in 1..=addresses {
        stalled.push(StalledHandshakes::start(&server, host(number), each).await);
    }
    eventually(|| stalled.iter().map(StalledHandshakes::begun).sum::<usize>() >= most).await;
    for _ in 0..5 {
        is_served(&server.connect_from(NEIGHBOUR).await.unwrap()).await;
    }
}

#[tokio::test]
async fn neighbour_connects_while_eight_addresses_stall_handshakes() {
    let limits = Limits {
        max_handshakes: 64,
        max_unvalidated_handshakes: 8,
        ..Limits::default()
    };
    connect_beside_stalled_handshakes(8, 16, limits).await;
}

#[tokio::test]
async fn neighbour_connects_while_64_addresses_stall_handshakes() {
    let limits = Limits {
        max_handshakes: 96,
        max_unvalidated_handshakes: 8,
        ..Limits::default()
    };
    connect_beside_stalled_handshakes(64, 3, limits).await;
}

#[tokio::test]
async fn server_is_served_by_a_client_that_another_server_floods() {
    let flooding = RawServer::start();
    let other = RawServer::at(OTHER_ADDRESS);
    let handlers = Handlers::default();
    let builder = Client::builder()
        .trust(flooding.trust().or(other.trust()))
        .server_name("localhost")
        .service(CallsServer::new(handlers.clone()))
        .limits(Limits {
            max_concurrent_calls: 8,
            ..Limits::default()
        });
    let connecting = builder.connect_many([flooding.address(), other.address()]);
    let (client, from_flooding, from_other) =
        tokio::join!(soon(connecting), flooding.accept(), other.accept());
    let _client = client.unwrap();
    let _stream = from_flooding.send(call(1, "wait", "[]").repeat(100)).await;
    eventually(|| handlers.started() >= 4).await;
    from_flooding.wait_until_processed().await;
    assert_eq!(handlers.started(), 4);
    for _ in 0..20 {
        is_served(&from_other).await;
    }
    assert_eq!(handlers.started(), 24);
}
