//! Clients of several servers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{Stream, TryStreamExt, stream};
use rpc_runtime::balance::{Endpoint, Endpoints};
use rpc_runtime::{
    Address, BindError, CallError, Client, ClientBuilder, ConnectError, ConnectionError,
    ConnectionState, Context, Execution, Identity, RpcError, Server, ServerHandle, Trust, code,
    rpc,
};
use tests::relay::Relay;
use tests::support::{eventually, soon};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

#[rpc]
trait Desk {
    /// Returns the number of the server.
    #[rpc(idempotent)]
    async fn number(&self, number: u64) -> usize;
    async fn enter(&self, number: u64) -> usize;
    async fn hold(&self) -> usize;
    async fn fail(&self) -> Result<usize, Failure>;
    fn several(&self, times: usize) -> impl Stream<Item = usize>;
    #[rpc(notification)]
    async fn note(&self);
    /// Returns the number of the server as its caller repeats it.
    async fn ask(&self, cx: &Context) -> Option<usize>;
}

#[derive(Debug, thiserror::Error, RpcError)]
enum Failure {
    #[error("it cannot be done")]
    #[rpc(code = 1)]
    Impossible,
}

/// The service of the client.
#[rpc(namespace = "caller")]
trait Caller {
    async fn repeat(&self, number: usize) -> usize;
}

struct CallerService;

impl Caller for CallerService {
    async fn repeat(&self, number: usize) -> usize {
        number
    }
}

/// The state of one of several servers.
struct Clerk {
    number: usize,
    /// The time that a call takes, in milliseconds.
    work: AtomicUsize,
    /// Makes every call panic.
    panics: AtomicBool,
    calls: AtomicUsize,
    noted: AtomicUsize,
    holding: Semaphore,
    go_on: Semaphore,
    journal: Arc<Mutex<HashMap<u64, usize>>>,
}

impl Clerk {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn work(&self) -> usize {
        self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as this test wants it");
        match self.work.load(Ordering::SeqCst) {
            0 => {}
            work => tokio::time::sleep(Duration::from_millis(work as u64)).await,
        }
        self.number
    }
}

#[derive(Clone)]
struct Clerks(Arc<Clerk>);

impl Desk for Clerks {
    async fn number(&self, number: u64) -> usize {
        self.enter(number).await
    }

    async fn enter(&self, number: u64) -> usize {
        *self.0.journal.lock().unwrap().entry(number).or_default() += 1;
        self.0.work().await
    }

    async fn hold(&self) -> usize {
        self.0.holding.add_permits(1);
        self.0.go_on.acquire().await.unwrap().forget();
        self.0.number
    }

    async fn fail(&self) -> Result<usize, Failure> {
        self.0.work().await;
        Err(Failure::Impossible)
    }

    fn several(&self, times: usize) -> impl Stream<Item = usize> {
        stream::iter(vec![self.0.number; times])
    }

    async fn note(&self) {
        self.0.noted.fetch_add(1, Ordering::SeqCst);
    }

    async fn ask(&self, cx: &Context) -> Option<usize> {
        let caller = cx.client::<CallerClient>();
        caller.repeat(self.0.number).await.ok()
    }
}

/// Several servers with the same identity, each in its own runtime.
struct Office {
    identity: Identity,
    clerks: Vec<Arc<Clerk>>,
    addresses: Vec<SocketAddr>,
    open: Vec<Option<(Runtime, ServerHandle)>>,
    journal: Arc<Mutex<HashMap<u64, usize>>>,
}

impl Office {
    fn new(servers: usize) -> Self {
        let mut office = Self {
            identity: Identity::self_signed(["localhost", "127.0.0.1"]).unwrap(),
            clerks: Vec::new(),
            addresses: Vec::new(),
            open: Vec::new(),
            journal: Arc::default(),
        };
        for number in 0..servers {
            office.clerks.push(Arc::new(Clerk {
                number,
                work: AtomicUsize::new(0),
                panics: AtomicBool::new(false),
                calls: AtomicUsize::new(0),
                noted: AtomicUsize::new(0),
                holding: Semaphore::new(0),
                go_on: Semaphore::new(0),
                journal: Arc::clone(&office.journal),
            }));
            office.addresses.push("127.0.0.1:0".parse().unwrap());
            office.open.push(None);
            office.open(number);
        }
        office
    }

    /// Starts a server, at its former address if it has one.
    fn open(&mut self, number: usize) {
        let identity = self.identity.clone();
        self.open_as(number, &identity);
    }

    fn open_as(&mut self, number: usize, identity: &Identity) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let inside = runtime.enter();
        let bind = || {
            Server::builder(identity.clone())
                .service(DeskServer::new(Clerks(Arc::clone(&self.clerks[number]))))
                .bind(self.addresses[number])
        };
        // The socket of the previous server is closed once its tasks have ended.
        let timeout = Instant::now() + Duration::from_secs(20);
        let server = loop {
            match bind() {
                Err(BindError::Address(_)) if Instant::now() < timeout => std::thread::yield_now(),
                bound => break bound.unwrap(),
            }
        };
        self.addresses[number] = server.local_addr().unwrap();
        let handle = server.handle();
        runtime.spawn(server.run());
        drop(inside);
        self.open[number] = Some((runtime, handle));
    }

    /// Ends a server at once, without closing its connections.
    fn kill(&mut self, number: usize) {
        let (runtime, _) = self.open[number].take().unwrap();
        runtime.shutdown_background();
    }

    async fn drain(&mut self, number: usize) {
        let (_, server) = self.open[number].as_ref().unwrap();
        let finished = soon(server.shutdown(Duration::from_secs(20))).await;
        assert!(finished, "a call was aborted");
        self.kill(number);
    }

    fn builder(&self) -> ClientBuilder {
        let (initial, max) = (Duration::from_millis(1), Duration::from_millis(50));
        Client::builder()
            .trust(Trust::certificate(self.identity.certificate()))
            .reconnect_backoff(initial, max)
            .probe_backoff(initial, max)
    }

    /// Connects a client to all servers.
    async fn connect(&self, builder: ClientBuilder) -> (DeskClient, Client, Endpoints) {
        let (client, endpoints) = builder.balanced().unwrap();
        endpoints.set(self.addresses.iter().map(|&address| address.into()));
        for &address in &self.addresses {
            until(&endpoints, address, is_connected).await;
        }
        (DeskClient::new(client.clone()), client, endpoints)
    }

    fn calls(&self) -> Vec<usize> {
        self.clerks.iter().map(|clerk| clerk.calls()).collect()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        for (runtime, _) in self.open.drain(..).flatten() {
            runtime.shutdown_background();
        }
    }
}

fn is_connected(endpoint: &Endpoint) -> bool {
    matches!(endpoint.state(), ConnectionState::Connected)
}

fn is_lost(endpoint: &Endpoint) -> bool {
    !is_connected(endpoint)
}

/// Waits until a server is in a state.
async fn until(endpoints: &Endpoints, address: SocketAddr, wanted: impl Fn(&Endpoint) -> bool) {
    let address = Address::from(address);
    let is_so = |endpoint: &Endpoint| endpoint.address() == &address && wanted(endpoint);
    eventually(|| endpoints.list().iter().any(is_so)).await;
}

#[tokio::test]
async fn unreachable_server_stops_getting_calls_after_a_few_timeouts() {
    let office = Office::new(2);
    let relay = Relay::start(office.addresses[0], 7).unwrap();
    let (client, endpoints) = office.builder().balanced().unwrap();
    let addresses = [relay.address(), office.addresses[1]];
    endpoints.set(addresses.map(Address::from));
    for address in addresses {
        until(&endpoints, address, is_connected).await;
    }
    let desk = DeskClient::new(client.clone());
    relay.set_blackhole(true);
    let timeout = Duration::from_secs(2);
    let mut late = 0;
    for number in 0..200 {
        match soon(desk.number(number).timeout(timeout)).await {
            Ok(clerk) => assert_eq!(clerk, 1),
            Err(CallError::Timeout) => late += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    // The first call that times out reveals the unreachable server. On a busy machine, several calls are in flight by then.
    assert!((1..=3).contains(&late), "{late}");

    // The server was unreachable, not down.
    relay.set_blackhole(false);
    let returned = async {
        let mut number = 200;
        while !matches!(desk.number(number).await, Ok(0)) {
            number += 1;
        }
    };
    soon(returned).await;
}

#[tokio::test]
async fn faster_of_two_servers_gets_most_calls() {
    let office = Office::new(2);
    // One server takes fifty times as long as the other; four times as many calls show the difference.
    office.clerks[0].work.store(50, Ordering::SeqCst);
    office.clerks[1].work.store(1, Ordering::SeqCst);
    let (desk, ..) = office.connect(office.builder()).await;
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let desk = desk.clone();
        callers.spawn(async move {
            for _ in 0..50 {
                desk.number(0).await.unwrap();
            }
        });
    }
    soon(callers.join_all()).await;
    let [slow, fast] = office.calls()[..] else {
        panic!("two servers")
    };
    assert_eq!(slow + fast, 800);
    assert!(slow > 0 && fast > 4 * slow, "{slow} and {fast}");
}

#[tokio::test]
async fn idle_servers_share_calls_evenly() {
    let office = Office::new(3);
    let (desk, ..) = office.connect(office.builder()).await;
    for _ in 0..300 {
        desk.number(0).await.unwrap();
    }
    // A hundred calls for each server, within six standard deviations.
    let calls = office.calls();
    assert!(
        calls.iter().all(|calls| (50..150).contains(calls)),
        "{calls:?}"
    );
}

/// Kills and drains five servers in turn, and starts them again at the same addresses, under the load of 128 callers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_while_servers_are_killed_and_drained_are_not_lost() {
    let mut office = Office::new(5);
    for clerk in &office.clerks {
        clerk.work.store(1, Ordering::SeqCst);
    }
    let (desk, client, endpoints) = office.connect(office.builder()).await;
    let (done, mut ended) = watch::channel(0_u64);
    let (done, enough) = (Arc::new(done), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for caller in 0..128_u64 {
        let (desk, done, enough) = (desk.clone(), Arc::clone(&done), Arc::clone(&enough));
        callers.spawn(async move {
            let mut told = Vec::new();
            for turn in 0.. {
                let number = turn << 8 | caller;
                // Every other call is idempotent.
                match turn % 2 {
                    0 => told.push((number, desk.number(number).await)),
                    _ => told.push((number, desk.enter(number).await)),
                }
                done.send_modify(|done| *done += 1);
                if enough.load(Ordering::SeqCst) {
                    break;
                }
            }
            told
        });
    }
    let mut some_more = async || {
        let so_far = *ended.borrow_and_update();
        soon(ended.wait_for(|ended| *ended >= so_far + 1_000))
            .await
            .unwrap();
    };
    for number in 0..office.clerks.len() {
        some_more().await;
        office.kill(number);
        office.open(number);
        some_more().await;
        until(&endpoints, office.addresses[number], is_connected).await;
        office.drain(number).await;
        some_more().await;
        office.open(number);
        until(&endpoints, office.addresses[number], is_connected).await;
    }
    some_more().await;
    enough.store(true, Ordering::SeqCst);
    let told: Vec<_> = soon(callers.join_all())
        .await
        .into_iter()
        .flatten()
        .collect();
    drop((desk, client));
    let journal = office.journal.lock().unwrap();
    for (number, result) in &told {
        let (executed, is_idempotent) = (
            journal.get(number).copied().unwrap_or(0),
            number >> 8 & 1 == 0,
        );
        let is_right = match result {
            Ok(_) => executed == 1 || (is_idempotent && executed > 1),
            // Its server was killed while it ran.
            Err(CallError::Connection {
                execution: Execution::MayHaveExecuted,
                ..
            }) => executed <= 1 && !is_idempotent,
            Err(_) => false,
        };
        assert!(
            is_right,
            "{number} was executed {executed} times: {result:?}"
        );
    }
    let all_worked = office.calls().iter().all(|calls| *calls > 0);
    assert!(all_worked, "{:?}", office.calls());
}

#[tokio::test]
async fn draining_server_gets_no_new_calls_and_ends_running_ones() {
    let mut office = Office::new(2);
    let (desk, client, endpoints) = office.connect(office.builder()).await;
    // Each server runs a call that waits.
    let mut held = JoinSet::new();
    while office
        .clerks
        .iter()
        .any(|clerk| clerk.holding.available_permits() == 0)
    {
        held.spawn(desk.hold());
        tokio::task::yield_now().await;
    }
    let (_, server) = office.open[0].as_ref().unwrap();
    let server = server.clone();
    let draining = tokio::spawn(async move { server.shutdown(Duration::from_secs(20)).await });
    // The server drains once it refuses connections.
    while soon(office.builder().connect(office.addresses[0]))
        .await
        .is_ok()
    {}
    for _ in 0..20 {
        assert_eq!(soon(desk.enter(0)).await.unwrap(), 1);
    }
    assert!(matches!(client.state(), ConnectionState::Connected));
    for clerk in &office.clerks {
        clerk.go_on.add_permits(held.len());
    }
    for result in soon(held.join_all()).await {
        result.unwrap();
    }
    assert!(soon(draining).await.unwrap(), "a call was aborted");
    office.kill(0);
    office.open(0);
    until(&endpoints, office.addresses[0], is_connected).await;
}

#[tokio::test]
async fn failing_server_is_ejected_until_it_answers_a_probe() {
    let office = Office::new(2);
    let long = Duration::from_secs(3600);
    let builder = office.builder().eject_after(3).probe_backoff(long, long);
    let (desk, _client, endpoints) = office.connect(builder).await;
    office.clerks[0].panics.store(true, Ordering::SeqCst);
    let mut failures = 0;
    while failures < 3 {
        match soon(desk.enter(0)).await {
            Ok(number) => assert_eq!(number, 1),
            Err(CallError::Remote(error)) if error.code() == code::INTERNAL_ERROR => failures += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    until(&endpoints, office.addresses[0], Endpoint::is_ejected).await;
    for _ in 0..100 {
        assert_eq!(soon(desk.enter(0)).await.unwrap(), 1);
    }
    assert_eq!(office.clerks[0].calls(), 3);
}

#[tokio::test]
async fn ejected_server_that_answers_a_probe_gets_calls_again() {
    let office = Office::new(2);
    let (desk, _client, endpoints) = office.connect(office.builder().eject_after(1)).await;
    office.clerks[0].work.store(3_600_000, Ordering::SeqCst);
    let address = Address::from(office.addresses[0]);
    let is_ejected = |endpoint: &Endpoint| endpoint.address() == &address && endpoint.is_ejected();
    while !endpoints.list().iter().any(is_ejected) {
        let _ = soon(desk.enter(0).timeout(Duration::from_millis(20))).await;
    }
    office.clerks[0].work.store(0, Ordering::SeqCst);
    until(&endpoints, office.addresses[0], |endpoint| {
        !endpoint.is_ejected()
    })
    .await;
    while soon(desk.enter(0)).await.unwrap() != 0 {}
}

#[tokio::test]
async fn server_that_answers_only_probes_is_ejected_for_longer_each_time() {
    const EJECTIONS: usize = 12;
    let office = Office::new(2);
    let (initial, max) = (Duration::from_millis(1), Duration::from_secs(3600));
    let builder = office.builder().eject_after(1).probe_backoff(initial, max);
    let (desk, _client, endpoints) = office.connect(builder).await;
    let address = Address::from(office.addresses[0]);
    let is_ejected = |endpoint: &Endpoint| endpoint.address() == &address && endpoint.is_ejected();
    office.clerks[0].panics.store(true, Ordering::SeqCst);
    let mut ejected = Duration::ZERO;
    for _ in 0..EJECTIONS {
        while soon(desk.enter(0)).await.is_ok() {}
        // Lets the task run that ejects the server.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        eventually(|| !endpoints.list().iter().any(is_ejected)).await;
        ejected += start.elapsed();
    }
    // The ejections are random times of up to 1 ms, 2 ms, 4 ms and so on. Twelve of up to 1 ms are far less.
    assert!(ejected > Duration::from_millis(150), "{ejected:?}");
}

#[tokio::test]
async fn ejected_servers_get_calls_when_all_are_ejected() {
    let office = Office::new(2);
    let long = Duration::from_secs(3600);
    let builder = office.builder().eject_after(1).probe_backoff(long, long);
    let (desk, _client, endpoints) = office.connect(builder).await;
    for clerk in &office.clerks {
        clerk.panics.store(true, Ordering::SeqCst);
    }
    while !endpoints.list().iter().all(Endpoint::is_ejected) {
        assert!(soon(desk.enter(0)).await.is_err());
    }
    for clerk in &office.clerks {
        clerk.panics.store(false, Ordering::SeqCst);
    }
    let before = office.calls();
    while office
        .calls()
        .iter()
        .zip(&before)
        .any(|(now, before)| now == before)
    {
        soon(desk.enter(0)).await.unwrap();
    }
}

#[tokio::test]
async fn servers_that_are_set_again_stay_connected_and_ejected() {
    let office = Office::new(2);
    let long = Duration::from_secs(3600);
    let builder = office.builder().eject_after(1).probe_backoff(long, long);
    let (desk, _client, endpoints) = office.connect(builder).await;
    office.clerks[0].panics.store(true, Ordering::SeqCst);
    while soon(desk.enter(0)).await.is_ok() {}
    until(&endpoints, office.addresses[0], Endpoint::is_ejected).await;
    office.clerks[0].panics.store(false, Ordering::SeqCst);

    // A lookup that has found the same servers sets them again.
    endpoints.set(office.addresses.iter().map(|&address| address.into()));
    let list = endpoints.list();
    assert!(list.iter().all(is_connected), "{list:?}");
    let ejected: Vec<_> = list.iter().map(Endpoint::is_ejected).collect();
    assert_eq!(ejected, [true, false]);
    for _ in 0..20 {
        assert_eq!(soon(desk.enter(0)).await.unwrap(), 1);
    }

    // A server that is removed and added again has failed no calls.
    assert!(endpoints.remove(&office.addresses[0].into()));
    assert!(endpoints.insert(office.addresses[0].into()));
    let is_fresh = |endpoint: &Endpoint| is_connected(endpoint) && !endpoint.is_ejected();
    until(&endpoints, office.addresses[0], is_fresh).await;
    while soon(desk.enter(0)).await.unwrap() != 0 {}
}

#[tokio::test]
async fn ejected_server_without_a_connection_stays_ejected_until_it_answers() {
    let mut office = Office::new(2);
    let builder = office.builder().eject_after(1);
    let builder = builder.connect_timeout(Duration::from_millis(500));
    let (desk, _client, endpoints) = office.connect(builder).await;
    let mut held = JoinSet::new();
    while office.clerks[0].holding.available_permits() == 0 {
        held.spawn(desk.hold());
        tokio::task::yield_now().await;
    }
    // The loss of a connection with running calls is a failure.
    let (_, server) = office.open[0].as_ref().unwrap();
    soon(server.shutdown(Duration::ZERO)).await;
    office.kill(0);
    until(&endpoints, office.addresses[0], Endpoint::is_ejected).await;
    // The first probes have failed long before the first attempt to connect has.
    let has_failed = |endpoint: &Endpoint| {
        matches!(
            endpoint.state(),
            ConnectionState::Connecting { error: Some(_), .. }
        )
    };
    until(&endpoints, office.addresses[0], has_failed).await;
    assert!(endpoints.list()[0].is_ejected());

    office.open(0);
    let is_back = |endpoint: &Endpoint| is_connected(endpoint) && !endpoint.is_ejected();
    until(&endpoints, office.addresses[0], is_back).await;
    while soon(desk.enter(0)).await.unwrap() != 0 {}
}

#[tokio::test]
async fn application_errors_do_not_eject_a_server() {
    let office = Office::new(2);
    let (desk, _client, endpoints) = office.connect(office.builder().eject_after(1)).await;
    for _ in 0..50 {
        let error = soon(desk.fail()).await.unwrap_err();
        assert!(
            matches!(error, CallError::Application(Failure::Impossible)),
            "{error:?}"
        );
    }
    assert!(!endpoints.list().iter().any(Endpoint::is_ejected));
    assert!(
        office.calls().iter().all(|calls| *calls > 0),
        "{:?}",
        office.calls()
    );
}

#[tokio::test]
async fn servers_can_be_added_and_removed() {
    let office = Office::new(2);
    let [one, other] = office.addresses[..] else {
        panic!("two servers")
    };
    let (client, endpoints) = office.builder().balanced().unwrap();
    let desk = DeskClient::new(client.clone());
    let early = tokio::spawn(desk.number(0));
    assert!(endpoints.insert(one.into()));
    assert!(!endpoints.insert(one.into()), "it is there already");
    assert_eq!(soon(early).await.unwrap().unwrap(), 0);
    let held = tokio::spawn(desk.hold());
    soon(office.clerks[0].holding.acquire())
        .await
        .unwrap()
        .forget();

    assert!(endpoints.insert(other.into()));
    until(&endpoints, other, is_connected).await;
    assert!(endpoints.remove(&one.into()));
    assert!(!endpoints.remove(&one.into()), "it is gone already");
    for _ in 0..20 {
        assert_eq!(soon(desk.number(0)).await.unwrap(), 1);
    }
    office.clerks[0].go_on.add_permits(1);
    assert_eq!(soon(held).await.unwrap().unwrap(), 0, "what runs goes on");

    endpoints.set([]);
    assert!(endpoints.list().is_empty());
    let error = soon(client.ready()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::AllUnreachable(_)),
        "{error:?}"
    );
    let waiting = tokio::spawn(desk.number(0));
    endpoints.set([one.into()]);
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 0);
}

/// Most servers are removed before they are connected.
#[tokio::test]
async fn removed_servers_leave_no_tasks() {
    let office = Office::new(1);
    let (client, endpoints) = office.builder().balanced().unwrap();
    let address = office.addresses[0];
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for turn in 0..300 {
        assert!(endpoints.insert(address.into()));
        match turn % 100 {
            0 => until(&endpoints, address, is_connected).await,
            few => {
                for _ in 0..few {
                    tokio::task::yield_now().await;
                }
            }
        }
        assert!(endpoints.remove(&address.into()));
    }
    eventually(|| tasks() <= before).await;
    assert!(endpoints.list().is_empty());
    assert!(matches!(
        client.state(),
        ConnectionState::Connecting { error: Some(_), .. }
    ));
}

#[tokio::test]
async fn client_without_servers_fails_instead_of_waiting() {
    let none: [Address; 0] = [];
    let error = soon(Client::builder().connect_many(none.clone())).await;
    assert!(
        matches!(error, Err(ConnectError::AllUnreachable(_))),
        "{error:?}"
    );

    let builder = Client::builder().wait_for_ready(false);
    let (client, endpoints) = builder.balanced().unwrap();
    endpoints.set(none);
    let error = soon(DeskClient::new(client).number(0)).await.unwrap_err();
    let is_not_sent = matches!(
        error,
        CallError::Connection {
            execution: Execution::NotSent,
            ..
        }
    );
    assert!(is_not_sent, "{error:?}");
}

#[tokio::test]
async fn batches_streams_and_notifications_are_balanced() {
    let office = Office::new(2);
    let (desk, client, _endpoints) = office.connect(office.builder()).await;
    let mut answered = [false; 2];
    while answered.contains(&false) {
        let mut batch = client.batch();
        let (one, other) = (batch.call(desk.number(0)), batch.call(desk.number(0)));
        let mut replies = soon(batch.send()).await.unwrap();
        let number = replies.take(one).unwrap();
        assert_eq!(
            replies.take(other).unwrap(),
            number,
            "a batch is not divided"
        );
        answered[number] = true;
    }
    let mut answered = [false; 2];
    while answered.contains(&false) {
        let numbers: Vec<_> = soon(desk.several(3).try_collect()).await.unwrap();
        assert_eq!(numbers, [numbers[0]; 3]);
        answered[numbers[0]] = true;
    }
    while office
        .clerks
        .iter()
        .any(|clerk| clerk.noted.load(Ordering::SeqCst) == 0)
    {
        soon(desk.note()).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn server_is_removed_with_the_runtime_that_added_it() {
    let office = Office::new(2);
    let (client, endpoints) = office.builder().balanced().unwrap();
    let elsewhere = Runtime::new().unwrap();
    let added = endpoints.clone();
    let [one, other] = office.addresses[..] else {
        panic!("two servers")
    };
    let inside = elsewhere.enter();
    assert!(added.insert(one.into()));
    drop(inside);
    endpoints.insert(other.into());
    for address in [one, other] {
        until(&endpoints, address, is_connected).await;
    }
    elsewhere.shutdown_background();
    eventually(|| endpoints.list().len() == 1).await;
    let desk = DeskClient::new(client.clone());
    for _ in 0..20 {
        assert_eq!(soon(desk.number(0)).await.unwrap(), 1);
    }
    soon(client.close()).await;
    assert!(endpoints.list().is_empty());
}

#[tokio::test]
async fn client_closes_with_its_runtime_and_removes_its_servers() {
    let office = Office::new(1);
    let elsewhere = Runtime::new().unwrap();
    let inside = elsewhere.enter();
    let (client, endpoints) = office.builder().balanced().unwrap();
    drop(inside);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let address = office.addresses[0];
    endpoints.insert(address.into());
    until(&endpoints, address, is_connected).await;
    elsewhere.shutdown_background();
    let lost = soon(client.closed()).await;
    assert!(matches!(lost, ConnectionError::ClosedHere), "{lost:?}");
    eventually(|| endpoints.list().is_empty() && tasks() <= before).await;
}

#[tokio::test]
async fn client_is_connected_while_any_server_is() {
    let mut office = Office::new(2);
    let (desk, client, endpoints) = office.connect(office.builder()).await;
    let mut states = client.watch_state();
    office.drain(0).await;
    until(&endpoints, office.addresses[0], is_lost).await;
    assert!(matches!(client.state(), ConnectionState::Connected));
    soon(client.ready()).await.unwrap();
    let unchanged = tokio::time::timeout(Duration::ZERO, states.changed()).await;
    assert!(unchanged.is_err(), "{unchanged:?}");
    assert_eq!(soon(desk.number(0)).await.unwrap(), 1);

    office.drain(1).await;
    let changed = soon(states.changed()).await;
    assert!(
        matches!(changed, Some(ConnectionState::Connecting { .. })),
        "{changed:?}"
    );
    let waiting = tokio::spawn(desk.number(0));
    office.open(0);
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 0);
    soon(client.ready()).await.unwrap();

    client.rebind().unwrap();
    assert_eq!(soon(desk.number(0)).await.unwrap(), 0);
    soon(client.close()).await;
    assert!(matches!(
        endpoints.state(),
        ConnectionState::Closed(ConnectionError::ClosedHere)
    ));
    assert!(
        !endpoints.insert(office.addresses[1].into()),
        "the client is closed"
    );
    let error = soon(desk.number(0)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Connection {
                execution: Execution::NotSent,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn call_that_does_not_wait_fails_when_the_last_server_is_lost() {
    let mut office = Office::new(2);
    let (desk, client, _endpoints) = office.connect(office.builder().wait_for_ready(false)).await;
    office.drain(0).await;
    assert_eq!(soon(desk.number(0)).await.unwrap(), 1);
    office.drain(1).await;
    let error = soon(client.ready()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::AllUnreachable(_)),
        "{error:?}"
    );
    let error = soon(desk.number(0)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Connection {
                execution: Execution::NotSent,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_server_can_call_back_the_client() {
    let office = Office::new(2);
    let (client, endpoints) = office
        .builder()
        .service(CallerServer::new(CallerService))
        .balanced()
        .unwrap();
    endpoints.set(office.addresses.iter().map(|&address| address.into()));
    for &address in &office.addresses {
        until(&endpoints, address, is_connected).await;
    }
    let desk = DeskClient::new(client);
    let mut asked = [false; 2];
    while asked.contains(&false) {
        asked[soon(desk.ask())
            .await
            .unwrap()
            .expect("an answer of the caller's")] = true;
    }
}

#[tokio::test]
async fn server_with_a_wrong_certificate_gets_no_calls() {
    let mut office = Office::new(3);
    office.drain(1).await;
    let other = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    office.open_as(1, &other);
    let (client, endpoints) = office.builder().balanced().unwrap();
    let address = |number: usize| Address::from(office.addresses[number]);
    let misnamed = address(2).with_server_name("example.org");
    endpoints.set([
        address(0).with_server_name("localhost"),
        address(1),
        misnamed,
    ]);
    let refused = || {
        let is_refused = |endpoint: &Endpoint| match endpoint.state() {
            ConnectionState::Connecting {
                error: Some(error), ..
            } => {
                matches!(**error, ConnectError::Untrusted(_))
            }
            _ => false,
        };
        endpoints.list().iter().map(is_refused).collect::<Vec<_>>()
    };
    eventually(|| refused() == [false, true, true]).await;
    soon(client.ready()).await.unwrap();
    let desk = DeskClient::new(client);
    for _ in 0..20 {
        assert_eq!(soon(desk.number(0)).await.unwrap(), 0);
    }
    assert_eq!(office.calls()[1..], [0, 0]);
}

#[tokio::test]
async fn connect_error_without_a_reachable_server_has_the_reason() {
    let mut office = Office::new(2);
    let other = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    for number in 0..2 {
        office.drain(number).await;
        office.open_as(number, &other);
    }
    let connecting = office.builder().connect_many(office.addresses.clone());
    match soon(connecting).await.unwrap_err() {
        ConnectError::AllUnreachable(error) => {
            assert!(matches!(*error, ConnectError::Untrusted(_)), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}
