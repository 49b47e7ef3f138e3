//! Clients of several servers, which are in memory.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{Calculator, DeskClient, DeskServer};
use crate::client::balance::health::EndpointHealth;
use crate::client::balance::outlier::Ejection;
use crate::client::balance::p2c::pick;
use crate::client::callback::{IntoServePeer, serve_peers};
use crate::client::handle::Client;
use crate::client::options::ClientOptions;
use crate::client::reconnect::ConnectionSlot;
use crate::description::discover::DiscoverOptions;
use crate::limits::Limits;
use crate::service::router::Single;
use crate::transport::{Connection, memory};

/// Makes a client of several servers in memory, all on one thread.
fn several(servers: usize) -> (Runtime, Client) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let inside = runtime.enter();
    let services = serve_peers(().into_serve_peer(Limits::default(), DiscoverOptions::default()));
    let client = Client::of_endpoints(ClientOptions::default(), services);
    for port in 1..=servers {
        let (here, there) = memory::pair();
        let services = Single(DeskServer::new(Calculator));
        let server = services.into_serve_peer(Limits::default(), DiscoverOptions::default());
        runtime.spawn(server.serve(Connection::Memory(there), None));
        let address = format!("memory:{port}").parse().unwrap();
        let health = Arc::new(EndpointHealth::new(Ejection::default()));
        let number = client
            .0
            .change_endpoints(|endpoints| endpoints.add(address, health, CancellationToken::new()));
        let slot = ConnectionSlot::of_endpoint(&client.0, number);
        slot.set_connected(Connection::Memory(here)).unwrap();
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
    let connections = client.0.connections();
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
    let connection = client.0.connections().pop().unwrap();
    runtime.block_on(async {
        let mut calls = Vec::new();
        for number in 1..=150 {
            let mut call = Box::pin(desk.hang().own_stream());
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
    let connections = client.0.connections();
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
