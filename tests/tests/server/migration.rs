//! Clients whose address changes while a call runs.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rpc_runtime::{Context, Limits, rpc};
use tests::message::call_line;
use tests::peer::RawClient;
use tests::support::{ANY_PORT, TestServer, soon};
use tokio::sync::Notify;

#[rpc]
trait Mirror {
    /// Returns the caller's port at the start, and its port once the test lets the handler continue.
    async fn ports(&self, cx: &Context) -> [Option<u16>; 2];
}

#[derive(Clone, Default)]
struct MirrorService(Arc<Signals>);

#[derive(Default)]
struct Signals {
    started: Notify,
    go_on: Notify,
    copies: std::sync::Mutex<Vec<Context>>,
}

fn port(cx: &Context) -> Option<u16> {
    cx.peer().map(|peer| peer.port())
}

impl Mirror for MirrorService {
    async fn ports(&self, cx: &Context) -> [Option<u16>; 2] {
        let before = port(cx);
        self.0.copies.lock().unwrap().push(cx.clone());
        self.0.started.notify_one();
        self.0.go_on.notified().await;
        [before, port(cx)]
    }
}

#[tokio::test]
async fn peer_of_a_migrated_connection_is_the_new_address() {
    let mirror_service = MirrorService::default();
    let server = TestServer::start(MirrorServer::new(mirror_service.clone()), Limits::default());
    let client = RawClient::new(&server);
    let endpoint = client.endpoint();
    let connection = soon(client.connecting(&endpoint)).await.unwrap();
    let address = |address: std::io::Result<SocketAddr>| address.unwrap().port();
    let first = address(endpoint.local_addr());

    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(call_line(1, "ports", "[]").as_bytes())
        .await
        .unwrap();
    send.finish().unwrap();
    soon(mirror_service.0.started.notified()).await;
    let socket = UdpSocket::bind(ANY_PORT).unwrap();
    let second = address(socket.local_addr());
    endpoint.rebind(socket).unwrap();
    assert_ne!(first, second);

    // The server answers a packet from the new address.
    let (mut ping, mut answer) = connection.open_bi().await.unwrap();
    ping.write_all(call_line(2, "rpc.ping", "[]").as_bytes())
        .await
        .unwrap();
    ping.finish().unwrap();
    soon(answer.read_to_end(1000)).await.unwrap();
    mirror_service.0.go_on.notify_one();
    let reply = soon(recv.read_to_end(1000)).await.unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":[{first},{second}]}}"#);
    assert_eq!(reply.trim_end(), expected);

    // Contexts that outlive the connection return the last address.
    connection.close(0u8.into(), b"");
    server.handle.shutdown(std::time::Duration::ZERO).await;
    let copies = mirror_service.0.copies.lock().unwrap();
    assert!(copies.iter().all(|copy| port(copy) == Some(second)));
}
