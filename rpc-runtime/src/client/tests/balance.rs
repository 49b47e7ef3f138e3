//! Tests of clients of several servers, which are in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{Calculator, DeskClient, DeskServer, PeerStream, soon};
use crate::client::balance::health::EndpointHealth;
use crate::client::balance::outlier::Ejection;
use crate::client::balance::p2c::pick;
use crate::client::balance::stall::Sample;
use crate::client::callback::{IntoServePeer, serve_peers};
use crate::client::handle::Client;
use crate::client::options::ClientOptions;
use crate::client::reconnect::ConnectionSlot;
use crate::client::retry::backoff::Backoff;
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::service::router::Single;
use crate::transport::{Connection, Traffic, memory};

/// Creates a client without servers.
fn without_servers(options: ClientOptions) -> Client {
    let services = serve_peers(().into_serve_peer(
        Limits::default(),
        DiscoverOptions::default(),
        EventHook::default(),
    ));
    Client::of_endpoints(options, services)
}

/// Adds a connected server. Returns the server's end of the connection.
fn add(client: &Client, port: usize) -> (Connection, ConnectionSlot, Arc<EndpointHealth>) {
    let address = format!("memory:{port}").parse().unwrap();
    let health = Arc::new(EndpointHealth::new(Ejection::default()));
    let number = client.inner.change_endpoints(|endpoints| {
        endpoints.add(address, Arc::clone(&health), CancellationToken::new())
    });
    let slot = ConnectionSlot::of_endpoint(&client.inner, number);
    (connect(&slot), slot, health)
}

/// Connects a server. Returns the server's end of the connection.
fn connect(slot: &ConnectionSlot) -> Connection {
    let (here, there) = memory::pair();
    slot.set_connected(Connection::Memory(here)).unwrap();
    Connection::Memory(there)
}

/// Creates a client of several servers in memory, all on one thread.
fn several(servers: usize) -> (Runtime, Client) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let inside = runtime.enter();
    let client = without_servers(ClientOptions::default());
    for port in 1..=servers {
        let (peer, ..) = add(&client, port);
        let services = Single(DeskServer::new(Calculator));
        let server = services.into_serve_peer(
            Limits::default(),
            DiscoverOptions::default(),
            EventHook::default(),
        );
        runtime.spawn(server.serve(peer, None));
    }
    drop(inside);
    (runtime, client)
}

#[test]
fn call_to_one_of_two_servers_allocates_nothing() {
    let (runtime, client) = several(2);
    let desk = DeskClient::new(client.clone());
    let repeat = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                assert_eq!(desk.add(1, 2).await.unwrap(), 3);
            }
        });
    };
    repeat(600);
    assert_eq!(allocation_counter::measure(|| repeat(300)).count_total, 0);
}

#[test]
fn call_goes_to_the_server_with_fewer_calls_in_flight() {
    let (runtime, client) = several(2);
    let desk = DeskClient::new(client.clone());
    let connections = client.inner.connections();
    let in_flight = || {
        connections
            .iter()
            .map(|connection| connection.in_flight())
            .collect::<Vec<_>>()
    };
    runtime.block_on(async {
        let mut calls = Vec::new();
        for round in 1..=20 {
            for _ in 0..connections.len() {
                let mut call = Box::pin(desk.hang());
                assert!(futures_util::poll!(&mut call).is_pending());
                calls.push(call);
            }
            assert_eq!(in_flight(), [round, round]);
        }
        drop(calls);
        assert_eq!(in_flight(), [0, 0]);
    });
}

#[test]
fn calls_on_dedicated_streams_count_as_in_flight() {
    let (runtime, client) = several(1);
    let desk = DeskClient::new(client.clone());
    let connection = client.inner.connections().pop().unwrap();
    runtime.block_on(async {
        let mut calls = Vec::new();
        for number in 1..=150 {
            let mut call = Box::pin(desk.hang().dedicated_stream());
            assert!(futures_util::poll!(&mut call).is_pending());
            calls.push(call);
            assert_eq!(connection.in_flight(), number);
        }
        drop(calls);
        assert_eq!(connection.in_flight(), 0);
    });
}

#[test]
fn pick_avoids_failed_and_retired_connections() {
    let (_runtime, client) = several(3);
    let connections = client.inner.connections();
    let picked = |failed| -> Vec<bool> {
        let picked: Vec<_> = (0..200)
            .filter_map(|_| pick(&connections, failed))
            .collect();
        let is_picked = |connection| picked.iter().any(|picked| Arc::ptr_eq(picked, connection));
        connections.iter().map(is_picked).collect()
    };
    assert_eq!(picked(None), [true, true, true]);
    assert_eq!(picked(Some(&connections[0])), [false, true, true]);
    connections[1].retire();
    assert_eq!(picked(None), [true, false, true]);
    assert_eq!(picked(Some(&connections[0])), [false, false, true]);
    connections[2].retire();
    assert_eq!(picked(None), [true, false, false]);
    assert_eq!(
        picked(Some(&connections[0])),
        [true, false, false],
        "there is no other"
    );
    connections[0].retire();
    assert_eq!(picked(None), [false, false, false]);
}

#[tokio::test(start_paused = true)]
async fn retry_goes_to_another_server_than_the_one_that_failed() {
    let client = without_servers(ClientOptions {
        retry: Some(Backoff::default()),
        ..ClientOptions::default()
    });
    let peers = [1, 2].map(|port| add(&client, port).0);
    let desk = DeskClient::new(client);
    for _ in 0..20 {
        let call = tokio::spawn(desk.read().into_future());
        let (failing, mut stream) = tokio::select! {
            stream = PeerStream::accept_bi(&peers[0]) => (0, stream),
            stream = PeerStream::accept_bi(&peers[1]) => (1, stream),
        };
        stream.line().await.unwrap();
        drop(stream);
        let mut stream = PeerStream::accept_bi(&peers[1 - failing]).await;
        let request: serde_json::Value =
            serde_json::from_str(&stream.line().await.unwrap()).unwrap();
        let reply = serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "result": 7});
        stream.reply(&reply.to_string()).await;
        assert_eq!(soon(call).await.unwrap().unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn server_with_a_new_connection_is_not_stalled() {
    let client = without_servers(ClientOptions::default());
    let (_first, slot, health) = add(&client, 1);
    let sent = std::cell::Cell::new(0);
    // The server sends nothing, while data is sent to it.
    let sample = || {
        sent.set(sent.get() + 1);
        Some(Some(Sample {
            traffic: Traffic {
                received: 1,
                sent: sent.get(),
                round_trip: Duration::from_millis(1),
            },
            in_flight: 1,
        }))
    };
    health.stalls.record_call();
    let watched = tokio::time::timeout(Duration::from_secs(10), health.stalls.watch(sample, || {}));
    assert!(watched.await.is_err());
    assert!(health.stalls.is_stalled());
    let _second = connect(&slot);
    assert!(!health.stalls.is_stalled());
}
