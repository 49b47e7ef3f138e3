//! The address of a peer.

use std::net::{Ipv4Addr, SocketAddr};

use rpc_runtime::{Context, Limits, Server, rpc};
use tests::support::{TestServer, soon};

#[rpc]
trait Who {
    async fn peer(&self, cx: &Context) -> Option<SocketAddr>;
}

struct WhoService;

impl Who for WhoService {
    async fn peer(&self, cx: &Context) -> Option<SocketAddr> {
        cx.peer()
    }
}

#[tokio::test]
async fn ipv4_peer_of_a_dual_stack_server_has_its_ipv4_address() {
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let bind = |server: rpc_runtime::ServerBuilder| -> Result<Server, _> {
        let server = server.service(WhoServer::new(WhoService)).limits(limits);
        server.bind("[::]:0")
    };
    let server = TestServer::bind(bind);
    let address = (Ipv4Addr::LOCALHOST, server.address.port());
    let client = soon(server.client().connect(SocketAddr::from(address))).await;
    let client = client.unwrap();
    let peer = soon(WhoClient::new(client.clone()).peer()).await.unwrap();
    assert_eq!(peer.unwrap().ip(), Ipv4Addr::LOCALHOST);
    // The limit of connections counts the same address.
    assert!(
        soon(server.client().connect(SocketAddr::from(address)))
            .await
            .is_err()
    );
    assert!(format!("{client:?}").contains("127.0.0.1"), "{client:?}");
}
