//! Discovery of servers by name.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rpc_discovery::{Dns, Found, Resolve, Srv, apply, follow};
use rpc_runtime::balance::{Endpoint, Endpoints};
use rpc_runtime::{
    Address, Client, ClientBuilder, ConnectionState, Identity, Server, ServerHandle, Trust, rpc,
};
use tests::support::{eventually, soon};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tower::discover::Change;

#[rpc]
trait Desk {
    /// Returns the port of the server.
    #[rpc(idempotent)]
    async fn port(&self) -> u16;
    async fn hang(&self);
}

struct Clerk(Arc<AtomicU16>);

impl Desk for Clerk {
    async fn port(&self) -> u16 {
        self.0.load(Ordering::SeqCst)
    }

    async fn hang(&self) {
        std::future::pending().await
    }
}

/// Servers whose certificates contain a name and no address.
struct Office {
    identity: Identity,
    open: HashMap<SocketAddr, ServerHandle>,
}

impl Office {
    fn new(name: &str) -> Self {
        Self {
            identity: Identity::self_signed([name]).unwrap(),
            open: HashMap::new(),
        }
    }

    /// Starts a server, which responds with its port.
    fn open(&mut self) -> SocketAddr {
        self.open_at("127.0.0.1:0".parse().unwrap())
    }

    fn open_at(&mut self, address: SocketAddr) -> SocketAddr {
        let port = Arc::<AtomicU16>::default();
        let server = Server::builder(self.identity.clone())
            .service(DeskServer::new(Clerk(Arc::clone(&port))))
            .bind(address)
            .unwrap();
        let address = server.local_addr().unwrap();
        port.store(address.port(), Ordering::SeqCst);
        self.open.insert(address, server.handle());
        tokio::spawn(server.run());
        address
    }

    async fn close(&mut self, address: SocketAddr) {
        let server = self.open.remove(&address).unwrap();
        soon(server.shutdown(Duration::ZERO)).await;
    }

    fn builder(&self) -> ClientBuilder {
        let (initial, max) = (Duration::from_millis(1), Duration::from_millis(50));
        Client::builder()
            .trust(Trust::certificate(self.identity.certificate()))
            .reconnect_backoff(initial, max)
    }
}

/// Waits until exactly these servers are connected.
async fn until_connected(endpoints: &Endpoints, wanted: &[SocketAddr]) {
    let is_connected = |endpoint: &Endpoint| matches!(endpoint.state(), ConnectionState::Connected);
    let wanted: HashSet<_> = wanted.iter().map(|address| address.port()).collect();
    eventually(|| {
        let list = endpoints.list();
        let connected = list.iter().filter(|endpoint| is_connected(endpoint));
        let connected: HashSet<_> = connected.map(|one| one.address().port()).collect();
        connected == wanted
    })
    .await;
}

/// Returns the ports of the servers that respond to calls. There are so many calls that each server gets some.
async fn responding_ports(desk: &DeskClient) -> HashSet<u16> {
    let mut ports = HashSet::new();
    for _ in 0..50 {
        ports.insert(soon(desk.port()).await.unwrap());
    }
    ports
}

fn ports(addresses: &[SocketAddr]) -> HashSet<u16> {
    addresses.iter().map(|address| address.port()).collect()
}

/// A resolver that returns the servers that a test sets.
#[derive(Clone)]
struct ScriptedResolver {
    found: Arc<Mutex<Result<Found, io::ErrorKind>>>,
    asked: watch::Sender<usize>,
}

impl ScriptedResolver {
    fn new(found: Found) -> Self {
        Self {
            found: Arc::new(Mutex::new(Ok(found))),
            asked: watch::Sender::new(0),
        }
    }

    fn set(&self, found: Result<Found, io::ErrorKind>) {
        *self.found.lock().unwrap() = found;
    }

    /// Waits until it is asked once more.
    async fn is_queried(&self) {
        let mut asked = self.asked.subscribe();
        asked.borrow_and_update();
        soon(asked.changed()).await.unwrap();
    }
}

impl Resolve for ScriptedResolver {
    async fn resolve(&mut self) -> io::Result<Found> {
        self.asked.send_modify(|asked| *asked += 1);
        Ok(self.found.lock().unwrap().clone()?)
    }
}

fn named(addresses: &[SocketAddr]) -> Vec<Address> {
    let named = |&address| Address::from(address).with_server_name("rpc.test");
    addresses.iter().map(named).collect()
}

const SHORT: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn changed_lookup_replaces_the_servers() {
    let mut office = Office::new("rpc.test");
    let (one, other) = (office.open(), office.open());
    let found = |addresses: &[SocketAddr]| Found::all(named(addresses)).valid_for(SHORT);
    let resolver = ScriptedResolver::new(found(&[one]));
    let (client, endpoints) = office.builder().balanced().unwrap();
    follow(endpoints.clone(), resolver.clone()).await.unwrap();
    soon(client.ready()).await.unwrap();
    let desk = DeskClient::new(client.clone());
    assert_eq!(responding_ports(&desk).await, ports(&[one]));

    resolver.set(Ok(found(&[one, other])));
    until_connected(&endpoints, &[one, other]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[one, other]));

    // A failed lookup keeps the servers.
    resolver.set(Err(io::ErrorKind::TimedOut));
    resolver.is_queried().await;
    resolver.is_queried().await;
    assert_eq!(responding_ports(&desk).await, ports(&[one, other]));

    resolver.set(Ok(found(&[other])));
    until_connected(&endpoints, &[other]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[other]));

    soon(client.close()).await;
    drop((client, desk));
    // The servers of a closed client are no longer looked up.
    eventually(|| Arc::strong_count(&resolver.found) == 1).await;
}

#[tokio::test]
async fn unreachable_servers_are_looked_up_again() {
    let mut office = Office::new("rpc.test");
    let (one, other) = (office.open(), office.open());
    let found = |addresses: &[SocketAddr]| Found::all(named(addresses)).valid_for(LONG);
    let resolver = ScriptedResolver::new(found(&[one]));
    let (client, endpoints) = office.builder().balanced().unwrap();
    follow(endpoints, resolver.clone()).await.unwrap();
    soon(client.ready()).await.unwrap();
    resolver.set(Ok(found(&[other])));
    office.close(one).await;
    let desk = DeskClient::new(client);
    assert_eq!(soon(desk.port()).await.unwrap(), other.port());
}

#[tokio::test]
async fn unreachable_group_is_replaced_by_the_next() {
    let mut office = Office::new("rpc.test");
    let (best, next, last) = (office.open(), office.open(), office.open());
    let groups = [best, next, last].map(|address| named(&[address]));
    let resolver = ScriptedResolver::new(Found::in_order(groups.to_vec()).valid_for(SHORT));
    let (client, endpoints) = office.builder().balanced().unwrap();
    follow(endpoints.clone(), resolver).await.unwrap();
    soon(client.ready()).await.unwrap();
    let desk = DeskClient::new(client);
    assert_eq!(responding_ports(&desk).await, ports(&[best]));
    office.close(best).await;
    assert_eq!(soon(desk.port()).await.unwrap(), next.port());
    assert_eq!(responding_ports(&desk).await, ports(&[next]));
    office.open_at(best);
    until_connected(&endpoints, &[best]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[best]));
}

#[tokio::test]
async fn reachable_better_group_is_used_again() {
    let mut office = Office::new("rpc.test");
    let (best, next) = (office.open(), office.open());
    let groups = [best, next].map(|address| named(&[address]));
    let resolver = ScriptedResolver::new(Found::in_order(groups.to_vec()).valid_for(Duration::MAX));
    let (client, endpoints) = office.builder().balanced().unwrap();
    follow(endpoints.clone(), resolver).await.unwrap();
    soon(client.ready()).await.unwrap();
    office.close(best).await;
    until_connected(&endpoints, &[next]).await;
    office.open_at(best);
    until_connected(&endpoints, &[best]).await;
}

#[tokio::test]
async fn ejected_server_of_the_better_group_leaves_the_next_group_in_use() {
    let mut office = Office::new("rpc.test");
    let (best, next) = (office.open(), office.open());
    let groups = [best, next].map(|address| named(&[address]));
    let resolver = ScriptedResolver::new(Found::in_order(groups.to_vec()).valid_for(SHORT));
    let builder = office.builder().eject_after(1).probe_backoff(LONG, LONG);
    let (client, endpoints) = builder.balanced().unwrap();
    follow(endpoints.clone(), resolver.clone()).await.unwrap();
    soon(client.ready()).await.unwrap();
    let desk = DeskClient::new(client);
    let mut hanging = desk.hang();
    assert!(futures_util::poll!(&mut hanging).is_pending());
    assert_eq!(soon(desk.port()).await.unwrap(), best.port());

    // The loss of a connection with a running call is a failure, which ejects the server.
    office.close(best).await;
    soon(hanging).await.unwrap_err();
    until_connected(&endpoints, &[next]).await;
    office.open_at(best);
    until_connected(&endpoints, &[best, next]).await;
    let is_ejected =
        |endpoint: &Endpoint| endpoint.address().port() == best.port() && endpoint.is_ejected();
    assert!(endpoints.list().iter().any(is_ejected));

    // The second lookup starts once the result of the first is in use.
    resolver.is_queried().await;
    resolver.is_queried().await;
    until_connected(&endpoints, &[best, next]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[next]));
}

/// A resolver whose second lookup never ends.
struct Stuck(ScriptedResolver);

impl Resolve for Stuck {
    async fn resolve(&mut self) -> io::Result<Found> {
        let found = self.0.resolve().await;
        if *self.0.asked.borrow() > 1 {
            std::future::pending::<()>().await;
        }
        found
    }
}

#[tokio::test]
async fn lookup_that_never_ends_does_not_block_the_client() {
    let mut office = Office::new("rpc.test");
    let (best, next) = (office.open(), office.open());
    let groups = [best, next].map(|address| named(&[address]));
    let resolver = ScriptedResolver::new(Found::in_order(groups.to_vec()).valid_for(SHORT));
    let (client, endpoints) = office.builder().balanced().unwrap();
    follow(endpoints.clone(), Stuck(resolver.clone()))
        .await
        .unwrap();
    until_connected(&endpoints, &[best]).await;
    resolver.is_queried().await;
    office.close(best).await;
    until_connected(&endpoints, &[next]).await;
    soon(client.close()).await;
    eventually(|| Arc::strong_count(&resolver.found) == 1).await;
}

#[tokio::test]
async fn name_is_resolved_by_the_operating_system() {
    // Every hosts file has this name.
    let mut office = Office::new("localhost");
    let address = office.open();
    let (client, endpoints) = office.builder().balanced().unwrap();
    let name = Dns::new(format!("localhost:{}", address.port())).unwrap();
    follow(endpoints.clone(), name).await.unwrap();
    until_connected(&endpoints, &[address]).await;
    let list = endpoints.list();
    let is_found = |endpoint: &Endpoint| {
        endpoint.address().host() == "127.0.0.1" && endpoint.address().server_name() == "localhost"
    };
    assert!(list.iter().any(is_found), "{list:?}");
    assert_eq!(
        soon(DeskClient::new(client).port()).await.unwrap(),
        address.port()
    );
}

#[tokio::test]
async fn unknown_name_is_an_error() {
    let (_client, endpoints) = Client::builder().balanced().unwrap();
    let resolver = ScriptedResolver::new(Found::default());
    resolver.set(Err(io::ErrorKind::NotFound));
    let error = follow(endpoints, resolver).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// A name server with some records. A test can let it fail the lookups of addresses.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Vec<Record>>>, Arc<AtomicBool>);

impl Zone {
    async fn serve(&self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), self.clone());
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, asker) = socket.recv_from(&mut buffer).await.unwrap();
                let answer = zone.answer(Message::from_vec(&buffer[..length]).unwrap());
                socket
                    .send_to(&answer.to_vec().unwrap(), asker)
                    .await
                    .unwrap();
            }
        });
        address
    }

    fn answer(&self, mut message: Message) -> Message {
        let records = self.0.lock().unwrap();
        let query = message.queries[0].clone();
        let of_name = || records.iter().filter(|record| &record.name == query.name());
        let answers = of_name().filter(|record| record.record_type() == query.query_type());
        message.metadata.response_code = match of_name().next() {
            Some(_) => ResponseCode::NoError,
            None => ResponseCode::NXDomain,
        };
        if self.1.load(Ordering::SeqCst) && query.query_type() != RecordType::SRV {
            message.metadata.response_code = ResponseCode::ServFail;
            message.metadata.message_type = MessageType::Response;
            return message;
        }
        message.add_answers(answers.cloned().collect::<Vec<_>>());
        message.metadata.message_type = MessageType::Response;
        message.metadata.recursion_available = true;
        message
    }

    /// Replaces all records by targets with priorities, each with its own address.
    fn set(&self, ttl: u32, servers: &[(u16, SocketAddr)]) {
        let service = Name::from_ascii("_rpc._udp.rpc.test.").unwrap();
        let mut records = Vec::new();
        for &(priority, address) in servers {
            let target = Name::from_ascii(format!("server-{}.test.", address.port())).unwrap();
            let srv = SRV::new(priority, 1, address.port(), target.clone());
            records.push(Record::from_rdata(service.clone(), ttl, RData::SRV(srv)));
            let IpAddr::V4(ip) = address.ip() else {
                panic!("an IPv4 address")
            };
            records.push(Record::from_rdata(target, ttl, RData::A(A(ip))));
        }
        *self.0.lock().unwrap() = records;
    }
}

#[tokio::test]
async fn srv_records_select_the_servers() {
    let mut office = Office::new("rpc.test");
    let (one, two, spare) = (office.open(), office.open(), office.open());
    let zone = Zone::default();
    zone.set(1, &[(20, spare), (10, one), (10, two)]);
    let name = Srv::with_name_servers("_rpc._udp.rpc.test", [zone.serve().await]).unwrap();
    let (client, endpoints) = office.builder().balanced().unwrap();
    soon(follow(endpoints.clone(), name)).await.unwrap();
    until_connected(&endpoints, &[one, two]).await;
    let desk = DeskClient::new(client);
    assert_eq!(responding_ports(&desk).await, ports(&[one, two]));

    // Expired records are looked up again.
    zone.set(1, &[(20, spare), (10, two)]);
    until_connected(&endpoints, &[two]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[two]));

    office.close(two).await;
    assert_eq!(soon(desk.port()).await.unwrap(), spare.port());
}

#[tokio::test]
async fn srv_records_are_valid_for_their_ttl() {
    let zone = Zone::default();
    let server = zone.serve().await;
    let mut name = Srv::with_name_servers("_rpc._udp.rpc.test", [server]).unwrap();
    let address = "127.0.0.1:4433".parse().unwrap();
    zone.set(70, &[(0, address)]);
    let found = soon(name.resolve()).await.unwrap();
    assert_eq!(found.groups, [named(&[address])]);
    let seconds = found.valid_for.unwrap().as_secs();
    assert!((60..=70).contains(&seconds), "{seconds} s");
    assert!(
        zone.0
            .lock()
            .unwrap()
            .iter()
            .all(|record| record.record_type() != RecordType::AAAA)
    );

    zone.set(70, &[]);
    assert!(
        soon(name.resolve()).await.is_err(),
        "no record has the name"
    );
}

#[tokio::test]
async fn servers_are_kept_while_address_lookups_fail() {
    let zone = Zone::default();
    let server = zone.serve().await;
    let mut name = Srv::with_name_servers("_rpc._udp.rpc.test", [server]).unwrap();
    let [one, other]: [SocketAddr; 2] =
        ["127.0.0.1:1", "127.0.0.1:2"].map(|at| at.parse().unwrap());
    zone.set(70, &[(0, one)]);
    soon(name.resolve()).await.unwrap();
    zone.1.store(true, Ordering::SeqCst);
    zone.set(70, &[(0, one), (1, other)]);
    let found = soon(name.resolve()).await.unwrap();
    assert_eq!(found.groups, [named(&[one])]);
    assert!(found.valid_for.unwrap() < Duration::from_secs(1));

    zone.set(70, &[(1, other)]);
    assert!(soon(name.resolve()).await.is_err(), "it is another server");
}

#[tokio::test]
async fn servers_discovered_by_tower_are_called() {
    let mut office = Office::new("rpc.test");
    let (one, other) = (office.open(), office.open());
    let (client, endpoints) = office.builder().balanced().unwrap();
    let (changes, received) = mpsc::unbounded_channel();
    let discover = stream::unfold(received, async |mut received| {
        let change: Result<Change<_, _>, io::Error> = received.recv().await?;
        Some((change, received))
    });
    let applying = tokio::spawn(apply(endpoints.clone(), discover));
    let insert = |key, address: SocketAddr| {
        let address = named(&[address]).remove(0);
        changes.send(Ok(Change::Insert(key, address))).unwrap();
    };
    insert("a", one);
    insert("b", other);
    until_connected(&endpoints, &[one, other]).await;
    let desk = DeskClient::new(client.clone());
    assert_eq!(responding_ports(&desk).await, ports(&[one, other]));
    changes.send(Ok(Change::Remove("a"))).unwrap();
    until_connected(&endpoints, &[other]).await;
    // Another server under the same key.
    insert("b", one);
    until_connected(&endpoints, &[one]).await;
    assert_eq!(responding_ports(&desk).await, ports(&[one]));
    changes.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
    let error = soon(applying).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(
        responding_ports(&desk).await,
        ports(&[one]),
        "the servers stay"
    );

    let applying = tokio::spawn(apply(
        endpoints,
        stream::pending::<Result<Change<(), _>, ()>>(),
    ));
    soon(client.close()).await;
    soon(applying).await.unwrap().unwrap();
}
