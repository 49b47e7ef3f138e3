//! Servers that share a certificate and its key: what one of them tells an attacker about the connections of another.

use std::net::SocketAddr;
use std::time::Duration;

use rpc_runtime::{Identity, Server, ServerBuilder};
use tests::support::{ANY_PORT, soon};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const TOKEN: usize = 16;

/// The ID of a connection, as a client sends it in each packet.
const CONNECTION_ID: [u8; 8] = *b"observed";

/// Sends a packet of a connection that the server does not know, and returns the token of its stateless reset.
async fn reset_token(server: SocketAddr) -> [u8; TOKEN] {
    let socket = UdpSocket::bind(ANY_PORT).await.unwrap();
    // A packet with a short header (RFC 9000, section 17.3): the fixed bit, the ID, and bytes that cannot be decrypted.
    let packet = [&[0x40], &CONNECTION_ID[..], &[7; 60]].concat();
    let mut reset = [0; 1500];
    let length = soon(async {
        loop {
            socket.send_to(&packet, server).await.unwrap();
            // A server limits its resets, so that it may ignore a packet.
            let received = timeout(Duration::from_millis(50), socket.recv(&mut reset)).await;
            if let Ok(length) = received {
                return length.unwrap();
            }
        }
    })
    .await;
    assert!(length < packet.len(), "a reset amplifies nothing");
    reset[length - TOKEN..length].try_into().unwrap()
}

fn start(builder: ServerBuilder, address: &str) -> (SocketAddr, rpc_runtime::ServerHandle) {
    let server = builder.bind(address).unwrap();
    let started = (server.local_addr().unwrap(), server.handle());
    tokio::spawn(server.run());
    started
}

fn identity() -> Identity {
    Identity::self_signed(["localhost"]).unwrap()
}

#[tokio::test]
async fn replica_resets_no_connection_of_another() {
    let identity = identity();
    let (one, _) = start(Server::builder(identity.clone()), ANY_PORT);
    let (other, _) = start(Server::builder(identity), ANY_PORT);
    assert_ne!(reset_token(one).await, reset_token(other).await);
}

#[tokio::test]
async fn restarted_server_resets_the_connections_of_its_predecessor() {
    let identity = identity();
    let (address, handle) = start(Server::builder(identity.clone()), ANY_PORT);
    let before = reset_token(address).await;
    soon(handle.shutdown(Duration::ZERO)).await;
    let (address, _) = start(Server::builder(identity), &address.to_string());
    assert_eq!(before, reset_token(address).await);
}

#[tokio::test]
async fn replica_is_known_by_its_name_at_any_address_and_with_a_renewed_certificate() {
    let identity = identity();
    let named = |name| Server::builder(identity.clone()).replica(name);
    let (one, handle) = start(named("one"), ANY_PORT);
    let (moved, _) = start(named("one"), ANY_PORT);
    let (two, _) = start(named("two"), ANY_PORT);
    let token = reset_token(one).await;
    assert_eq!(token, reset_token(moved).await);
    assert_ne!(token, reset_token(two).await);
    handle.set_identity(identity.clone());
    assert_eq!(token, reset_token(one).await);
    handle.set_identity(self::identity());
    assert_ne!(token, reset_token(one).await);
}
