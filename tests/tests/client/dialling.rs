//! The forms of addresses, and clients that connect with their first call.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc_runtime::{
    Address, CallError, Client, ClientBuilder, ConnectError, ConnectionError, ConnectionState,
    Execution, Identity, Server, ServerHandle, Stream, Trust, rpc,
};
use tests::support::{DEADLINE, soon};
use tokio::sync::mpsc;

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, items: impl Stream<Item = i64>) -> i64;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

#[derive(Clone)]
struct Clerk(mpsc::UnboundedSender<String>);

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }

    async fn sum(&self, items: impl Stream<Item = i64>) -> i64 {
        items.fold(0, async |sum, item| sum + item).await
    }

    async fn note(&self, text: &str) {
        self.0.send(text.to_owned()).unwrap();
    }
}

struct Office {
    address: SocketAddr,
    trust: Trust,
    handle: ServerHandle,
    notes: mpsc::UnboundedReceiver<String>,
}

impl Office {
    fn open(at: impl Into<SocketAddr>) -> Self {
        let names = ["localhost", "127.0.0.1", "::1"];
        Self::of(Identity::self_signed(names).unwrap(), at.into())
    }

    fn of(identity: Identity, at: SocketAddr) -> Self {
        let trust = Trust::certificate(identity.certificate());
        let (sender, notes) = mpsc::unbounded_channel();
        let builder = Server::builder(identity).service(DeskServer::new(Clerk(sender)));
        let server = builder.bind(at).unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        tokio::spawn(server.run());
        Self {
            address,
            trust,
            handle,
            notes,
        }
    }

    fn client(&self) -> ClientBuilder {
        Client::builder().trust(self.trust.clone())
    }

    /// Connects to `address`, and makes a call.
    async fn call<A>(&self, address: A)
    where
        A: TryInto<Address>,
        ConnectError: From<A::Error>,
    {
        let client = soon(self.client().connect(address)).await.unwrap();
        assert_eq!(soon(DeskClient::new(client).add(1, 2)).await.unwrap(), 3);
    }
}

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

#[tokio::test]
async fn address_of_a_server_in_each_form_is_dialled() {
    let office = Office::open(LOOPBACK);
    let port = office.address.port();
    office.call(("127.0.0.1", port)).await;
    office.call(("localhost".to_owned(), port)).await;
    office.call((office.address.ip(), port)).await;
    office.call(format!("QUIC://LocalHost:{port}/")).await;
    office.call(format!("0.0.0.0:{port}")).await;
    office.call(format!("[::ffff:127.0.0.1]:{port}")).await;
    let mapped = [0, 0, 0, 0, 0, 0xffff, 0x7f00, 1];
    office.call(SocketAddr::from((mapped, port))).await;
}

#[tokio::test]
async fn local_address_of_a_server_on_all_interfaces_is_dialled() {
    let office = Office::open(([0, 0, 0, 0], 0));
    office.call(office.address).await;
    let office = Office::open((Ipv6Addr::UNSPECIFIED, 0));
    office.call(office.address).await;
    // The server also serves IPv4.
    office.call(("127.0.0.1", office.address.port())).await;
}

/// Returns a link-local address of this machine and the index of its interface, if there is one.
fn link_local() -> Option<(Ipv6Addr, u32)> {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    interfaces.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        let address = Ipv6Addr::from(address);
        address.is_unicast_link_local().then_some((address, index))
    })
}

#[tokio::test]
async fn link_local_address_is_dialled_in_its_zone() {
    let Some((ip, index)) = link_local() else {
        return println!("skipped: this machine has no link-local address");
    };
    let identity = Identity::self_signed([ip.to_string()]).unwrap();
    let office = Office::of(identity, SocketAddrV6::new(ip, 0, 0, index).into());
    let port = office.address.port();
    // A flow label is not dialled, since the client would take the packets of the server for those of another peer.
    office.call(SocketAddrV6::new(ip, port, 7, index)).await;
    office.call(format!("[{ip}%{index}]:{port}")).await;
    office
        .call(format!("quic://[{ip}%25{index}]:{port}/"))
        .await;
}

#[tokio::test]
async fn first_call_of_each_kind_connects_a_lazy_client() {
    let mut office = Office::open(LOOPBACK);
    let (builder, address) = (office.client(), office.address);
    let lazy = || {
        let client = builder.clone().connect_lazy(address).unwrap();
        assert!(matches!(client.state(), ConnectionState::Idle));
        client
    };
    let desk = || DeskClient::new(lazy());
    assert_eq!(soon(desk().add(1, 2)).await.unwrap(), 3);
    assert_eq!(soon(desk().add(1, 2).dedicated_stream()).await.unwrap(), 3);
    assert_eq!(soon(desk().count(3).count()).await, 3);
    assert_eq!(soon(desk().sum(stream::iter([1, 2, 3]))).await.unwrap(), 6);
    soon(desk().note("one")).await.unwrap();
    assert_eq!(soon(office.notes.recv()).await.unwrap(), "one");
    let client = lazy();
    let mut batch = client.batch();
    let sum = batch.call(DeskClient::new(client.clone()).add(3, 4));
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(sum).unwrap(), 7);
    let client = lazy();
    soon(client.ready()).await.unwrap();
    assert!(matches!(client.state(), ConnectionState::Connected));
}

#[tokio::test]
async fn lazy_client_sends_nothing_before_its_first_call_and_waits_for_its_server() {
    let office = Office::open(LOOPBACK);
    let socket = UdpSocket::bind(SocketAddr::from(LOOPBACK)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let client = office.client().connect_lazy(address).unwrap();
    let mut states = client.watch_state();
    let desk = DeskClient::new(client);
    // A second client connects in the meantime.
    office.call(office.address).await;
    assert!(socket.recv(&mut [0]).is_err());

    let late = soon(desk.add(1, 2).timeout(DEADLINE)).await.unwrap_err();
    assert!(late.is_retryable(), "{late:?}");
    assert!(matches!(
        soon(states.changed()).await,
        Some(ConnectionState::Connecting {
            lost: None,
            error: None,
            ..
        })
    ));
    assert!(socket.recv(&mut [0]).is_ok());
}

#[tokio::test]
async fn first_call_of_a_lazy_client_fails_at_once_if_it_does_not_wait_for_ready() {
    let office = Office::open(LOOPBACK);
    let stranger = Identity::self_signed(["127.0.0.1"]).unwrap();
    let builder = Client::builder().trust(Trust::certificate(stranger.certificate()));
    let client = builder.wait_for_ready(false).connect_lazy(office.address);
    let client = client.unwrap();
    let failed = soon(DeskClient::new(client.clone()).add(1, 2)).await;
    let is_unsent = matches!(
        failed,
        Err(CallError::Connection {
            execution: Execution::NotSent,
            ..
        })
    );
    assert!(is_unsent, "{failed:?}");
    let error = soon(client.ready()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::AllUnreachable(_)),
        "{error:?}"
    );
}

#[tokio::test]
async fn lazy_client_that_does_not_reconnect_is_closed_by_the_first_loss() {
    let office = Office::open(LOOPBACK);
    let builder = office.client().reconnect(false);
    let client = builder.connect_lazy(office.address).unwrap();
    soon(client.ready()).await.unwrap();
    soon(office.handle.shutdown(Duration::ZERO)).await;
    soon(client.closed()).await;
    assert!(matches!(client.state(), ConnectionState::Closed(_)));
}

#[tokio::test]
async fn lazy_client_that_is_closed_before_its_first_call_never_connects() {
    let office = Office::open(LOOPBACK);
    let client = office.client().connect_lazy(office.address).unwrap();
    soon(client.close()).await;
    let state = client.state();
    assert!(
        matches!(state, ConnectionState::Closed(ConnectionError::ClosedHere)),
        "{state:?}"
    );
    let error = soon(client.ready()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed(_)), "{error:?}");
}

#[tokio::test]
async fn lazy_client_of_a_wrong_address_fails_when_it_is_created() {
    let failed = Client::builder().connect_lazy("::1:4433").unwrap_err();
    let advice = "`::1:4433` is no address; write `[::1]:4433`, with the IPv6 address in brackets";
    assert_eq!(failed.to_string(), advice);
    let ip: IpAddr = Ipv6Addr::LOCALHOST.into();
    assert!(Client::builder().connect_lazy((ip, 4433)).is_ok());
}
