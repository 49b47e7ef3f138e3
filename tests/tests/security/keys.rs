//! The keys that a server derives from its private key change with it.

use std::sync::Arc;

use rpc_runtime::{Identity, Limits, Server, ServerHandle, rpc};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use tests::message::call_line;
use tests::peer::RawClient;
use tests::support::{ANY_PORT, soon};
use tokio::net::UdpSocket;

#[rpc]
trait Empty {
    async fn nothing(&self);
}

struct Nothing;

impl Empty for Nothing {
    async fn nothing(&self) {}
}

fn identity() -> Identity {
    Identity::self_signed(["localhost", "127.0.0.1"]).unwrap()
}

/// Starts a server with `identity`, and returns its port and its handle.
fn serve(identity: Identity, limits: Limits) -> (u16, ServerHandle) {
    let server = Server::builder(identity)
        .service(EmptyServer::new(Nothing))
        .limits(limits)
        .bind(ANY_PORT)
        .unwrap();
    let (port, handle) = (server.local_addr().unwrap().port(), server.handle());
    tokio::spawn(server.run());
    (port, handle)
}

/// Connects a client that accepts the certificate of `identity` and resumes sessions; makes a call.
async fn resumes(identity: &Identity, port: u16, tickets: &Arc<ClientSessionMemoryCache>) -> bool {
    let certificate = identity.certificate();
    let client = RawClient::to(([127, 0, 0, 1], port).into(), certificate.der());
    let client = client.tls(|tls| tls.resumption = Resumption::store(tickets.clone()));
    let Ok(connection) = client.try_dial().await else {
        return false;
    };
    // The session tickets that the server sent before the response have arrived, too.
    let replies = connection.exchange(call_line(1, "rpc.ping", "[]")).await;
    replies.len() == 1
}

#[tokio::test]
async fn session_of_a_replaced_identity_is_not_resumed() {
    let (old, new) = (identity(), identity());
    let (port, handle) = serve(old.clone(), Limits::default());
    let tickets = Arc::new(ClientSessionMemoryCache::new(8));
    for _ in 0..2 {
        assert!(resumes(&old, port, &tickets).await);
    }
    handle.set_identity(new.clone());
    // The client would accept a resumed session, because it does not check the certificate then.
    assert!(!resumes(&old, port, &tickets).await);
    let tickets = Arc::new(ClientSessionMemoryCache::new(8));
    assert!(resumes(&new, port, &tickets).await);
}

/// The type of a long packet header ([RFC 9000, section 17.2](https://www.rfc-editor.org/rfc/rfc9000#section-17.2)).
#[derive(Debug, PartialEq)]
enum Packet {
    Initial,
    Retry,
}

async fn receive(socket: &UdpSocket) -> (Packet, Vec<u8>) {
    let mut packet = vec![0; 1500];
    let length = soon(socket.recv(&mut packet)).await.unwrap();
    packet.truncate(length);
    assert_eq!(packet[0] & 0x80, 0x80, "a long header");
    let kind = match packet[0] >> 4 & 3 {
        0 => Packet::Initial,
        3 => Packet::Retry,
        kind => panic!("a packet of type {kind}"),
    };
    (kind, packet)
}

/// Returns the answer to a client that presents an address token after `change`, of a server that asks every client for one.
async fn answer_to_token(change: impl FnOnce(&ServerHandle)) -> Packet {
    let identity = identity();
    let limits = Limits {
        max_unvalidated_handshakes: 0,
        ..Limits::default()
    };
    let (port, handle) = serve(identity.clone(), limits);
    let [to_client, to_server] = [UdpSocket::bind(ANY_PORT), UdpSocket::bind(ANY_PORT)];
    let (to_client, to_server) = (to_client.await.unwrap(), to_server.await.unwrap());
    to_server.connect(("127.0.0.1", port)).await.unwrap();
    let address = to_client.local_addr().unwrap();
    let client = RawClient::to(address, identity.certificate().der());
    let endpoint = client.endpoint();
    let _connecting = tokio::spawn(client.connecting(&endpoint).into_future());

    to_client
        .connect(("127.0.0.1", endpoint.local_addr().unwrap().port()))
        .await
        .unwrap();
    let (_, first) = receive(&to_client).await;
    to_server.send(&first).await.unwrap();
    let (kind, retry) = receive(&to_server).await;
    assert_eq!(kind, Packet::Retry);
    to_client.send(&retry).await.unwrap();
    let (_, with_token) = receive(&to_client).await;
    change(&handle);
    to_server.send(&with_token).await.unwrap();
    receive(&to_server).await.0
}

#[tokio::test]
async fn address_token_of_a_replaced_identity_is_not_accepted() {
    assert_eq!(answer_to_token(|_| {}).await, Packet::Initial);
    let replaced = answer_to_token(|handle| handle.set_identity(identity()));
    assert_eq!(replaced.await, Packet::Retry);
}
