//! Lost connections: reconnection, retries, change of address.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rpc_runtime::event::Event;
use rpc_runtime::{
    Call, CallError, Client, ClientBuilder, ConnectError, ConnectionError, ConnectionState,
    Context, Execution, Identity, Limits, Server, ServerHandle, Service, Trust, rpc,
};
use tests::log::Log;
use tests::peer::RawServer;
use tests::relay::{self, Faults};
use tests::support::{current_thread, soon};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn hold(&self) -> usize;
    /// As `hold`, but idempotent.
    #[rpc(idempotent)]
    async fn read(&self) -> usize;
    /// Returns the port of the caller.
    #[rpc(idempotent)]
    async fn port(&self, cx: &Context) -> u16;
    async fn repeat(&self, text: &str, times: usize) -> String;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

/// Counts of the events in the handlers of all servers.
#[derive(Clone, Default)]
struct Clerk(Arc<Work>);

struct Work {
    started: AtomicUsize,
    holding: Semaphore,
    go_on: Semaphore,
    noted: Semaphore,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            started: AtomicUsize::new(0),
            holding: Semaphore::new(0),
            go_on: Semaphore::new(0),
            noted: Semaphore::new(0),
        }
    }
}

impl Work {
    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        a + b
    }

    async fn hold(&self) -> usize {
        let number = self.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.holding.add_permits(1);
        self.0.go_on.acquire().await.unwrap().forget();
        number
    }

    async fn read(&self) -> usize {
        self.hold().await
    }

    async fn port(&self, cx: &Context) -> u16 {
        cx.peer().unwrap().port()
    }

    async fn repeat(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }

    async fn note(&self, _: &str) {
        self.0.noted.add_permits(1);
    }
}

/// An address at which servers are started one after the other.
struct Harness {
    identity: Identity,
    address: SocketAddr,
    clerk: Clerk,
}

impl Harness {
    /// Starts a server at a new address.
    fn new() -> (Self, ServerHandle) {
        Self::new_with(Identity::self_signed(["localhost", "127.0.0.1"]).unwrap())
    }

    /// Starts a server, and connects a client to it.
    async fn connected() -> (Self, ServerHandle, DeskClient, Client) {
        let (harness, server) = Self::new();
        let (desk, client) = harness.connect(harness.builder()).await;
        (harness, server, desk, client)
    }

    /// Starts a server that can be killed.
    async fn killable() -> (Self, KillableServer) {
        let mut harness = Self {
            identity: Identity::self_signed(["127.0.0.1"]).unwrap(),
            address: "127.0.0.1:0".parse().unwrap(),
            clerk: Clerk::default(),
        };
        let server = KillableServer::new(&harness).await;
        harness.address = server.address;
        (harness, server)
    }

    fn new_with(identity: Identity) -> (Self, ServerHandle) {
        let mut harness = Self {
            identity,
            address: "127.0.0.1:0".parse().unwrap(),
            clerk: Clerk::default(),
        };
        let (address, handle) = harness.open_with(harness.identity.clone());
        harness.address = address;
        (harness, handle)
    }

    fn open(&self) -> ServerHandle {
        self.open_with(self.identity.clone()).1
    }

    fn open_with(&self, identity: Identity) -> (SocketAddr, ServerHandle) {
        let server = Server::builder(identity)
            .service(DeskServer::new(self.clerk.clone()))
            .bind(self.address)
            .unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        tokio::spawn(server.run());
        (address, handle)
    }

    fn builder(&self) -> ClientBuilder {
        let trust = Trust::certificate(self.identity.certificate());
        let (initial, max) = (Duration::from_millis(1), Duration::from_millis(50));
        Client::builder()
            .trust(trust)
            .reconnect_backoff(initial, max)
    }

    /// Waits until this number of additional calls is running.
    async fn holding(&self, calls: u32) {
        let holding = self.clerk.0.holding.acquire_many(calls);
        soon(holding).await.unwrap().forget();
    }

    async fn connect(&self, builder: ClientBuilder) -> (DeskClient, Client) {
        self.connect_to(self.address, builder).await
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        builder: ClientBuilder,
    ) -> (DeskClient, Client) {
        let client = soon(builder.connect(address)).await.unwrap();
        (DeskClient::new(client.clone()), client)
    }
}

async fn shut(server: ServerHandle) {
    soon(server.shutdown(Duration::ZERO)).await;
}

async fn drain(server: ServerHandle) {
    let finished = soon(server.shutdown(Duration::from_secs(20))).await;
    assert!(finished, "a call was aborted");
}

async fn until(client: &Client, wanted: impl Fn(&ConnectionState) -> bool) -> ConnectionState {
    let mut states = client.watch_state();
    let mut state = client.state();
    soon(async {
        while !wanted(&state) {
            state = states.changed().await.expect("the client is closed");
        }
        state
    })
    .await
}

async fn until_connected(client: &Client) {
    until(client, |state| matches!(state, ConnectionState::Connected)).await;
}

async fn until_refused(client: &Client) -> Arc<ConnectError> {
    let is_refused = |state: &ConnectionState| {
        matches!(state, ConnectionState::Connecting { error: Some(_), .. })
    };
    match until(client, is_refused).await {
        ConnectionState::Connecting {
            error: Some(error), ..
        } => error,
        other => panic!("{other:?}"),
    }
}

async fn until_lost(client: &Client) -> ConnectionError {
    let is_lost = |state: &ConnectionState| !matches!(state, ConnectionState::Connected);
    match until(client, is_lost).await {
        ConnectionState::Connecting {
            lost: Some(lost), ..
        } => lost,
        other => panic!("{other:?}"),
    }
}

/// Repeats a call until it fails, and returns its failure.
async fn until_failed(call: impl Fn() -> Call<i64>) -> Result<i64, CallError> {
    soon(async {
        loop {
            match call().await {
                Ok(sum) => assert_eq!(sum, 3),
                failed => return failed,
            }
        }
    })
    .await
}

/// Starts a call, which waits for a connection.
async fn waiting(desk: &DeskClient) -> JoinHandle<Result<i64, CallError>> {
    let mut call = desk.add(1, 2);
    let early = tokio::time::timeout(Duration::ZERO, &mut call).await;
    assert!(early.is_err(), "{early:?}");
    tokio::spawn(call)
}

#[track_caller]
fn assert_execution<T: std::fmt::Debug>(result: Result<T, CallError>, expected: Execution) {
    match result {
        Err(CallError::Connection { execution, .. }) => assert_eq!(execution, expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn client_reconnects_after_restarts_of_its_server() {
    let (harness, mut server, desk, client) = Harness::connected().await;
    for _ in 0..3 {
        assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
        drain(server).await;
        let lost = until_lost(&client).await;
        assert!(
            matches!(lost, ConnectionError::ClosedByPeer { code: 0x10, .. }),
            "{lost:?}"
        );
        server = harness.open();
        until_connected(&client).await;
    }
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn client_whose_connections_are_lost_soon_waits_before_it_connects_again() {
    let hour = Duration::from_secs(3600);
    let server = RawServer::start();
    let builder = server.client().reconnect_backoff(hour, hour);
    let (client, connection) = server.meet(builder).await;
    let mut states = client.watch_state();
    connection.close(0u32.into(), b"");
    // The client makes the first attempt at once.
    let connection = server.accept().await;
    while !matches!(
        soon(states.changed()).await,
        Some(ConnectionState::Connected)
    ) {}
    connection.close(0u32.into(), b"");
    until_lost(&client).await;
    // An attempt of the client would be accepted in place of one of these.
    for _ in 0..5 {
        server.meet(server.client()).await;
    }
    let state = client.state();
    assert!(
        matches!(state, ConnectionState::Connecting { error: None, .. }),
        "{state:?}"
    );
}

#[tokio::test]
async fn client_whose_connection_has_lasted_connects_again_at_once() {
    let hour = Duration::from_secs(3600);
    let server = RawServer::start();
    let builder = server.client().reconnect_backoff(hour, hour);
    let (client, mut connection) = server.meet(builder).await;
    let mut states = client.watch_state();
    for _ in 0..2 {
        tokio::time::pause();
        tokio::time::advance(2 * hour).await;
        tokio::time::resume();
        connection.close(0u32.into(), b"");
        connection = server.accept().await;
        while !matches!(
            soon(states.changed()).await,
            Some(ConnectionState::Connected)
        ) {}
    }
}

#[tokio::test]
async fn client_without_reconnection_is_closed_by_a_loss_although_a_backoff_is_set_later() {
    let server = RawServer::start();
    let builder = server.client().reconnect(false);
    let builder = builder.reconnect_backoff(Duration::ZERO, Duration::ZERO);
    let (client, connection) = server.meet(builder).await;
    connection.close(7u32.into(), b"");
    let lost = soon(client.closed()).await;
    assert!(
        matches!(lost, ConnectionError::ClosedByPeer { code: 7, .. }),
        "{lost:?}"
    );
}

#[tokio::test]
async fn calls_notifications_and_batches_without_a_connection_wait() {
    let (harness, server) = Harness::new();
    let (desk, client) = harness.connect(harness.builder().streams(3)).await;
    shut(server).await;
    until_lost(&client).await;
    let calls = [waiting(&desk).await, waiting(&desk).await];
    let large = tokio::spawn(desk.add(3, 4).dedicated_stream());
    let note = tokio::spawn(desk.note("small"));
    let large_note = tokio::spawn(desk.note(&"large".repeat(10_000)));
    let mut batch = client.batch();
    let sum = batch.call(desk.add(5, 6));
    let batch = tokio::spawn(batch.send());
    let _server = harness.open();
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap(), 3);
    }
    assert_eq!(soon(large).await.unwrap().unwrap(), 7);
    soon(note).await.unwrap().unwrap();
    soon(large_note).await.unwrap().unwrap();
    let mut replies = soon(batch).await.unwrap().unwrap();
    assert_eq!(replies.take(sum).unwrap(), 11);
    soon(harness.clerk.0.noted.acquire_many(2))
        .await
        .unwrap()
        .forget();
}

#[tokio::test]
async fn call_that_times_out_without_a_connection_is_never_sent() {
    let (harness, server, desk, client) = Harness::connected().await;
    shut(server).await;
    until_lost(&client).await;
    let late = soon(desk.add(1, 2).timeout(Duration::from_millis(20))).await;
    assert_execution(late, Execution::NotSent);
    let _server = harness.open();
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    assert_eq!(harness.clerk.0.started(), 1);
}

#[tokio::test]
async fn client_that_does_not_wait_fails_after_a_failed_attempt() {
    let (harness, server) = Harness::new();
    let builder = harness.builder().wait_for_ready(false);
    let (desk, client) = harness.connect(builder).await;
    shut(server).await;
    until_refused(&client).await;
    assert_execution(soon(desk.add(1, 2)).await, Execution::NotSent);
    assert_execution(
        soon(desk.add(1, 2).dedicated_stream()).await,
        Execution::NotSent,
    );
    assert_execution(soon(desk.note("text")).await, Execution::NotSent);
    let refused = soon(client.batch().send()).await;
    assert!(refused.is_ok(), "an empty batch needs no connection");
    let _server = harness.open();
    until_connected(&client).await;
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn running_calls_of_a_lost_connection_may_have_been_executed() {
    let (harness, server, desk, client) = Harness::connected().await;
    let calls = [
        tokio::spawn(desk.hold()),
        tokio::spawn(desk.hold().dedicated_stream()),
    ];
    harness.holding(2).await;
    shut(server).await;
    for call in calls {
        assert_execution(soon(call).await.unwrap(), Execution::MayHaveExecuted);
    }
    let _server = harness.open();
    until_connected(&client).await;
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn untrusted_server_gets_no_calls() {
    let (harness, server, desk, client) = Harness::connected().await;
    shut(server).await;
    let untrusted = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let (_, server) = harness.open_with(untrusted);
    let call = waiting(&desk).await;
    loop {
        // Earlier attempts may have failed before the untrusted server was started.
        let error = until_refused(&client).await;
        if let ConnectError::Untrusted(_) = *error {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(harness.clerk.0.started(), 0);
    shut(server).await;
    let _server = harness.open();
    assert_eq!(soon(call).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn closed_client_stops_reconnecting() {
    let (_harness, server, desk, client) = Harness::connected().await;
    shut(server).await;
    until_lost(&client).await;
    let call = waiting(&desk).await;
    let mut states = client.watch_state();
    soon(client.close()).await;
    assert_execution(soon(call).await.unwrap(), Execution::NotSent);
    assert_execution(soon(desk.add(1, 2)).await, Execution::NotSent);
    assert_eq!(soon(client.closed()).await, ConnectionError::ClosedHere);
    drop((desk, client));
    let mut last = None;
    while let Some(state) = soon(states.changed()).await {
        last = Some(state);
    }
    let closed = matches!(
        last,
        Some(ConnectionState::Closed(ConnectionError::ClosedHere))
    );
    assert!(closed, "{last:?}");
}

#[tokio::test]
async fn dropped_client_stops_reconnecting() {
    let (_harness, server, desk, client) = Harness::connected().await;
    shut(server).await;
    until_lost(&client).await;
    let mut states = client.watch_state();
    drop((desk, client));
    while let Some(state) = soon(states.changed()).await {
        assert!(!matches!(state, ConnectionState::Connected), "{state:?}");
    }
}

#[tokio::test]
async fn client_without_reconnection_is_closed_by_the_first_loss() {
    let (harness, server) = Harness::new();
    let (desk, client) = harness.connect(harness.builder().reconnect(false)).await;
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    drain(server).await;
    let lost = soon(client.closed()).await;
    assert!(
        matches!(lost, ConnectionError::ClosedByPeer { code: 0x10, .. }),
        "{lost:?}"
    );
    assert!(matches!(client.state(), ConnectionState::Closed(_)));
    assert_execution(soon(desk.add(1, 2)).await, Execution::NotSent);
}

#[tokio::test]
async fn client_without_reconnection_is_closed_by_a_drain_after_its_calls() {
    let (harness, draining) = Harness::new();
    let (desk, client) = harness.connect(harness.builder().reconnect(false)).await;
    let old = tokio::spawn(desk.hold());
    harness.holding(1).await;
    let drained = tokio::spawn(drain(draining));
    let refused = until_failed(|| desk.add(1, 2)).await;
    assert_execution(refused, Execution::NotExecuted);
    soon(client.closed()).await;
    assert_execution(soon(desk.add(1, 2)).await, Execution::NotSent);
    harness.clerk.0.go_on.add_permits(1);
    soon(old).await.unwrap().unwrap();
    soon(drained).await.unwrap();
}

/// Forwards packets to a server that can be changed. Packets of known senders are still forwarded to the previous server.
struct Relay {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    /// The number of packets that were sent to a client.
    answers: watch::Receiver<usize>,
    senders: Arc<AtomicUsize>,
}

impl Relay {
    async fn new(server: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let answers = watch::Sender::new(0);
        let relay = Self {
            address: front.local_addr().unwrap(),
            server: Arc::new(Mutex::new(server)),
            answers: answers.subscribe(),
            senders: Arc::default(),
        };
        let (server, senders) = (Arc::clone(&relay.server), Arc::clone(&relay.senders));
        tokio::spawn(forward(front, server, senders, answers));
        relay
    }

    /// Waits until this number of additional packets was sent to the client.
    async fn answers(&mut self, packets: usize) {
        let before = *self.answers.borrow();
        let answers = self
            .answers
            .wait_for(|answers| *answers >= before + packets);
        soon(answers).await.unwrap();
    }

    fn turn_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }
}

async fn forward(
    front: Arc<UdpSocket>,
    server: Arc<Mutex<SocketAddr>>,
    senders: Arc<AtomicUsize>,
    answers: watch::Sender<usize>,
) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut packet = [0; 2048];
    while let Ok((length, sender)) = front.recv_from(&mut packet).await {
        if let Entry::Vacant(new) = backs.entry(sender) {
            let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            let server = *server.lock().unwrap();
            back.connect(server).await.unwrap();
            let front = Arc::clone(&front);
            tokio::spawn(answer(Arc::clone(&back), front, sender, answers.clone()));
            new.insert(back);
            senders.store(backs.len(), Ordering::SeqCst);
        }
        // A packet that cannot be sent is lost, which QUIC allows.
        let _ = backs[&sender].send(&packet[..length]).await;
    }
}

async fn answer(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    sender: SocketAddr,
    answers: watch::Sender<usize>,
) {
    let mut packet = [0; 2048];
    while let Ok(length) = back.recv(&mut packet).await {
        let _ = front.send_to(&packet[..length], sender).await;
        answers.send_modify(|answers| *answers += 1);
    }
}

#[tokio::test]
async fn new_calls_go_to_another_server_while_the_draining_one_ends_old_calls() {
    let (harness, draining) = Harness::new();
    let relay = Relay::new(harness.address).await;
    let (desk, _client) = harness.connect_to(relay.address, harness.builder()).await;
    let old = tokio::spawn(desk.hold());
    let alone = tokio::spawn(desk.hold().dedicated_stream());
    harness.holding(2).await;

    let (next, _server) = Harness::new_with(harness.identity.clone());
    relay.turn_to(next.address);
    let drained = tokio::spawn(drain(draining));
    soon(async {
        while next.clerk.0.started() == 0 {
            // Calls that the old server rejects are retried.
            assert_eq!(desk.add(1, 2).await.unwrap(), 3);
        }
    })
    .await;
    assert!(!old.is_finished() && !alone.is_finished());
    harness.clerk.0.go_on.add_permits(2);
    soon(old).await.unwrap().unwrap();
    soon(alone).await.unwrap().unwrap();
    soon(drained).await.unwrap();
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn rejected_call_without_retry_was_not_executed() {
    let (harness, draining, desk, _client) = Harness::connected().await;
    let old = tokio::spawn(desk.hold());
    harness.holding(1).await;
    let drained = tokio::spawn(drain(draining));
    let refused = until_failed(|| desk.add(1, 2).no_retry()).await;
    assert_execution(refused, Execution::NotExecuted);
    harness.clerk.0.go_on.add_permits(1);
    soon(old).await.unwrap().unwrap();
    soon(drained).await.unwrap();
}

#[tokio::test]
async fn idempotent_call_that_may_have_been_executed_is_retried() {
    let (harness, server, desk, _client) = Harness::connected().await;
    let calls = [
        tokio::spawn(desk.read()),
        tokio::spawn(desk.read().dedicated_stream()),
    ];
    harness.holding(2).await;
    shut(server).await;
    let _server = harness.open();
    harness.holding(2).await;
    harness.clerk.0.go_on.add_permits(2);
    for call in calls {
        // These are the third and fourth attempts.
        assert!(soon(call).await.unwrap().unwrap() >= 2);
    }
    assert_eq!(harness.clerk.0.started(), 4);
}

#[tokio::test]
async fn idempotent_call_is_sent_at_most_three_times() {
    let (harness, mut server, desk, _client) = Harness::connected().await;
    let once = tokio::spawn(desk.read().no_retry());
    let thrice = tokio::spawn(desk.read());
    harness.holding(1).await;
    for _ in 0..3 {
        harness.holding(1).await;
        shut(server).await;
        server = harness.open();
    }
    assert_execution(soon(once).await.unwrap(), Execution::MayHaveExecuted);
    assert_execution(soon(thrice).await.unwrap(), Execution::MayHaveExecuted);
    assert_eq!(harness.clerk.0.started(), 4);
}

#[tokio::test]
async fn call_that_is_not_retried_says_that_the_budget_is_spent() {
    let log = Log::default();
    let _recording = log.record();
    let (harness, server) = Harness::new();
    let exhausted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&exhausted);
    let builder = harness.builder().on_event(move |event| {
        if let Event::RetryBudgetExhausted { .. } = event {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (desk, _client) = harness.connect(builder).await;
    let mut calls: JoinSet<_> = (0..13).map(|_| desk.read()).collect();
    harness.holding(13).await;
    shut(server).await;
    let _server = harness.open();
    for _ in 0..3 {
        let failed = soon(calls.join_next()).await.unwrap().unwrap();
        let text = failed.as_ref().unwrap_err().to_string();
        assert!(
            text.contains("its budget of 10 retries is used up"),
            "{text}"
        );
        assert_execution(failed, Execution::MayHaveExecuted);
    }
    assert_eq!(exhausted.load(Ordering::Relaxed), 3);
    // One event a second.
    assert_eq!(log.count("calls not retried"), 1);
    harness.holding(10).await;
    harness.clerk.0.go_on.add_permits(10);
    while let Some(call) = soon(calls.join_next()).await {
        call.unwrap().unwrap();
    }
    assert_eq!(harness.clerk.0.started(), 23);
}

#[tokio::test]
async fn retried_call_keeps_its_timeout() {
    let (harness, server, desk, _client) = Harness::connected().await;
    let call = tokio::spawn(desk.read().timeout(Duration::from_millis(300)));
    harness.holding(1).await;
    shut(server).await;
    let late = soon(call).await.unwrap();
    assert!(
        matches!(
            late,
            Err(CallError::Connection {
                execution: Execution::MayHaveExecuted,
                reason: ConnectionError::NotConnected(_),
                ..
            })
        ),
        "{late:?}"
    );
}

#[tokio::test]
async fn earlier_attempt_that_may_have_been_executed_decides_the_result() {
    let (harness, server, desk, client) = Harness::connected().await;
    let call = tokio::spawn(desk.read());
    harness.holding(1).await;
    shut(server).await;
    until_lost(&client).await;
    soon(client.close()).await;
    // The second attempt was not sent.
    assert_execution(soon(call).await.unwrap(), Execution::MayHaveExecuted);
}

#[test]
fn description_lists_idempotent_methods() {
    let methods = DeskServer::<Clerk>::DESCRIPTION.methods;
    let idempotent = methods.iter().filter(|method| method.idempotent);
    assert!(idempotent.map(|method| method.name).eq(["read", "port"]));
}

/// A server on its own thread that can be killed: its connections are not closed, and packets for it are dropped.
struct KillableServer {
    address: SocketAddr,
    handle: ServerHandle,
    kill: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl KillableServer {
    async fn new(harness: &Harness) -> Self {
        let server = Server::builder(harness.identity.clone())
            .service(DeskServer::new(harness.clerk.clone()));
        let wanted = harness.address;
        let (kill, killed) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // On a single thread, no task runs while the runtime is dropped.
            let runtime = current_thread();
            runtime.block_on(async {
                let server = server.bind(wanted).unwrap();
                let started = (server.local_addr().unwrap(), server.handle());
                assert!(tell.send(started).is_ok());
                tokio::spawn(server.run());
                let _ = killed.await;
            });
        });
        let (address, handle) = soon(told).await.unwrap();
        Self {
            address,
            handle,
            kill,
            thread,
        }
    }

    fn kill(self) {
        self.kill.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

#[tokio::test]
async fn killed_server_is_noticed_with_the_next_packet() {
    let (harness, killable) = Harness::killable().await;
    let (desk, client) = harness.connect(harness.builder()).await;
    let held = [
        tokio::spawn(desk.hold()),
        tokio::spawn(desk.hold().dedicated_stream()),
    ];
    harness.holding(2).await;
    killable.kill();
    let _server = harness.open();

    let killed = Instant::now();
    harness.clerk.0.go_on.add_permits(1);
    // It is sent on the old connection and again on the new one.
    soon(desk.read()).await.unwrap();
    for call in held {
        assert_execution(soon(call).await.unwrap(), Execution::MayHaveExecuted);
    }
    until_connected(&client).await;
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    // Without the reset, the client would send a packet after 5 s and time out after 15 s.
    assert!(
        killed.elapsed() < Duration::from_secs(4),
        "{:?}",
        killed.elapsed()
    );
}

/// The numbers of events of some clients and of the server that they connect to.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Counts {
    fn hook(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let counts = self.clone();
        move |event| {
            let name = match event {
                Event::Connected { .. } => "connected",
                Event::ConnectFailed { .. } => "failed attempts",
                Event::Disconnected { reason, .. } => match reason.downcast_ref() {
                    Some(ConnectionError::Reset) => "resets",
                    _ => "other losses",
                },
                Event::RetrySent { .. } => "retries",
                Event::ConnectionRefused { .. } => "refused",
                Event::HandshakeFailed { .. } => "failed handshakes",
                _ => return,
            };
            *counts.0.lock().unwrap().entry(name).or_default() += 1;
        }
    }

    fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

#[tokio::test]
async fn clients_of_a_killed_server_connect_again_with_few_attempts_from_the_same_ports() {
    const CLIENTS: usize = 40;
    let (harness, killable) = Harness::killable().await;
    let counts = Counts::default();
    let mut desks = Vec::new();
    for _ in 0..CLIENTS {
        let builder = harness.builder().on_event(counts.hook());
        desks.push(harness.connect(builder).await);
    }
    let ports = async || {
        let ports = desks.iter().map(|(desk, _)| soon(desk.port()));
        futures_util::future::try_join_all(ports).await.unwrap()
    };
    let before = ports().await;
    killable.kill();
    let server = Server::builder(harness.identity.clone())
        .service(DeskServer::new(harness.clerk.clone()))
        .on_event(counts.hook())
        .bind(harness.address)
        .unwrap();
    let handle = server.handle();
    tokio::spawn(server.run());

    assert_eq!(ports().await, before);
    assert_eq!(counts.of("resets"), CLIENTS);
    assert_eq!(counts.of("other losses"), 0);
    assert_eq!(counts.of("refused"), 0);
    // The last attempt is not counted before the client has its connection.
    let attempts = counts.of("connected") + counts.of("failed attempts");
    assert!(attempts <= 2 * CLIENTS, "{attempts}");
    assert!(counts.of("retries") <= attempts);
    shut(handle).await;
}

#[tokio::test]
async fn attempt_that_the_server_has_answered_is_not_ended_after_a_second() {
    let (mut harness, killable) = Harness::killable().await;
    let server_address = killable.address;
    let relay = relay::Relay::start(server_address, 0).unwrap();
    harness.address = relay.address();
    let counts = Counts::default();
    let (desk, _client) = harness
        .connect(harness.builder().on_event(counts.hook()))
        .await;
    soon(desk.port()).await.unwrap();
    killable.kill();
    // The first answer is a Retry packet, after a round trip; the handshake ends after two.
    let server = Server::builder(harness.identity.clone())
        .service(DeskServer::new(harness.clerk.clone()))
        .limits(Limits {
            max_unvalidated_handshakes: 0,
            ..Limits::default()
        })
        .on_event(counts.hook())
        .bind(server_address)
        .unwrap();
    tokio::spawn(server.run());
    relay.set_faults(Faults {
        delay: Duration::from_millis(300),
        ..Faults::default()
    });
    soon(desk.port()).await.unwrap();
    assert_eq!(counts.of("resets"), 1);
    assert_eq!(counts.of("failed attempts"), 0);
    assert!(counts.of("retries") >= 1);
}

#[tokio::test]
async fn connection_made_under_a_replaced_identity_is_reset_with_its_key() {
    let (mut harness, killable) = Harness::killable().await;
    harness.identity = Identity::self_signed(["127.0.0.1"]).unwrap();
    killable.handle.set_identity(harness.identity.clone());
    let (desk, _client) = harness.connect(harness.builder()).await;
    killable.kill();
    let _server = harness.open();

    let killed = Instant::now();
    harness.clerk.0.go_on.add_permits(1);
    soon(desk.read()).await.unwrap();
    // Without the reset, the client would send a packet after 5 s and time out after 15 s.
    let elapsed = killed.elapsed();
    assert!(elapsed < Duration::from_secs(4), "{elapsed:?}");
}

#[tokio::test]
async fn server_of_another_identity_cannot_reset_a_connection() {
    let (harness, killable) = Harness::killable().await;
    let (desk, client) = harness.connect(harness.builder()).await;
    killable.kill();
    let untrusted = Identity::self_signed(["127.0.0.1"]).unwrap();
    let _server = harness.open_with(untrusted);
    let late = soon(desk.add(1, 2).timeout(Duration::from_secs(1))).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    assert!(matches!(client.state(), ConnectionState::Connected));
}

#[tokio::test]
async fn change_of_the_client_address_keeps_a_large_response() {
    let (harness, _server) = Harness::new();
    let mut relay = Relay::new(harness.address).await;
    let (desk, client) = harness.connect_to(relay.address, harness.builder()).await;
    let held = tokio::spawn(desk.hold());
    harness.holding(1).await;
    let large = tokio::spawn(desk.repeat("0123456789abcdef", 200_000));
    for moves in 1..=3 {
        // Out of more than two thousand packets.
        relay.answers(50).await;
        assert!(!large.is_finished());
        client.rebind().unwrap();
        soon(async {
            while relay.senders.load(Ordering::SeqCst) <= moves {
                relay.answers(1).await;
            }
        })
        .await;
    }
    assert_eq!(soon(large).await.unwrap().unwrap().len(), 3_200_000);
    harness.clerk.0.go_on.add_permits(1);
    soon(held).await.unwrap().unwrap();
    assert!(matches!(client.state(), ConnectionState::Connected));
    assert_eq!(relay.senders.load(Ordering::SeqCst), 4, "one connection");
}

#[tokio::test]
async fn idle_client_after_rebind_calls_from_its_new_address() {
    let (harness, _server) = Harness::new();
    let relay = Relay::new(harness.address).await;
    let (desk, client) = harness.connect_to(relay.address, harness.builder()).await;
    for moves in 1..=5 {
        assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
        assert_eq!(relay.senders.load(Ordering::SeqCst), moves);
        client.rebind().unwrap();
    }
}

#[tokio::test]
async fn rebind_outside_the_runtime_moves_the_connection() {
    let (harness, _server) = Harness::new();
    let relay = Relay::new(harness.address).await;
    let (desk, client) = harness.connect_to(relay.address, harness.builder()).await;
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    let moved = std::thread::spawn(move || client.rebind());
    moved.join().unwrap().unwrap();
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    assert_eq!(relay.senders.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn rebind_without_a_connection_does_nothing() {
    let client = Client::local(DeskServer::new(Clerk::default()));
    client.rebind().unwrap();
    let desk = DeskClient::new(client.clone());
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    client.close().await;
    client.rebind().unwrap();
}
