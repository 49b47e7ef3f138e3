//! Calls from a server to its client.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rpc_runtime::{
    CallError, Client, ClientBuilder, ConnectError, ConnectionError, Context, ErrorObject,
    Execution, Identity, Limits, RawService, RpcError, Server, ServerHandle, Trust, code, rpc,
};
use tests::support::{ANY_PORT, DEADLINE, TestServer, eventually, soon};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The service of the server.
#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn hang(&self);
    /// Passes a client of the caller to the test.
    async fn subscribe(&self, cx: &Context);
    /// Returns the result of a call to the caller.
    async fn double(&self, cx: &Context, number: i64) -> Result<i64, ErrorObject>;
    /// Returns the remaining time that the caller is given, in milliseconds.
    async fn time_given(&self, cx: &Context) -> Result<Option<u64>, ErrorObject>;
    /// Calls `hold` of the caller.
    async fn hold(&self, cx: &Context) -> Result<(), ErrorObject>;
    /// Calls the caller, which calls the server, for this number of levels.
    async fn down(&self, cx: &Context, levels: u32) -> Result<u32, ErrorObject>;
}

/// The service of the client.
#[rpc(namespace = "home")]
trait Home {
    async fn double(&self, number: i64) -> i64;
    async fn measure(&self, text: &str) -> usize;
    async fn repeat(&self, text: &str, times: usize) -> String;
    async fn open(&self, door: u32) -> Result<(), DoorError>;
    async fn time_given(&self, cx: &Context) -> Option<u64>;
    async fn hold(&self);
    async fn peer(&self, cx: &Context) -> Option<SocketAddr>;
    /// Makes a call to the server that times out.
    async fn nag(&self, cx: &Context) -> bool;
    async fn down(&self, cx: &Context, levels: u32) -> Result<u32, ErrorObject>;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum DoorError {
    #[error("door {door} is locked")]
    #[rpc(code = 1)]
    Locked { door: u32 },
}

/// Returns the error of a handler whose own call failed.
fn told<E: std::fmt::Display>(error: CallError<E>) -> ErrorObject {
    ErrorObject::new(7, error.to_string())
}

fn milliseconds(cx: &Context) -> Option<u64> {
    Some(cx.remaining()?.as_millis() as u64)
}

/// Serves `Desk` and passes the clients of its callers to the test.
#[derive(Clone)]
struct Office {
    callers: mpsc::UnboundedSender<Client>,
    /// Calls of `hang` that have started.
    hanging: Arc<Semaphore>,
}

impl Office {
    fn new() -> (Self, mpsc::UnboundedReceiver<Client>) {
        let (callers, subscribed) = mpsc::unbounded_channel();
        let hanging = Arc::new(Semaphore::new(0));
        (Self { callers, hanging }, subscribed)
    }
}

impl Desk for Office {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn hang(&self) {
        self.hanging.add_permits(1);
        std::future::pending().await
    }

    async fn subscribe(&self, cx: &Context) {
        let _ = self.callers.send(cx.client());
    }

    async fn double(&self, cx: &Context, number: i64) -> Result<i64, ErrorObject> {
        let home = cx.client::<HomeClient>();
        home.double(number).await.map_err(told)
    }

    async fn time_given(&self, cx: &Context) -> Result<Option<u64>, ErrorObject> {
        let home = cx.client::<HomeClient>();
        home.time_given().await.map_err(told)
    }

    async fn hold(&self, cx: &Context) -> Result<(), ErrorObject> {
        cx.client::<HomeClient>().hold().await.map_err(told)
    }

    async fn down(&self, cx: &Context, levels: u32) -> Result<u32, ErrorObject> {
        match levels {
            0 => Ok(0),
            _ => match cx.client::<HomeClient>().down(levels - 1).await {
                Ok(below) => Ok(below + 1),
                Err(error) => Err(told(error)),
            },
        }
    }
}

/// Serves `Home` and counts the events in its handlers.
struct Flat {
    holding: Semaphore,
    go_on: Semaphore,
    /// Handlers that were dropped before their end.
    dropped: Semaphore,
    notes: Semaphore,
    held: AtomicUsize,
}

impl Default for Flat {
    fn default() -> Self {
        let none = || Semaphore::new(0);
        Self {
            holding: none(),
            go_on: none(),
            dropped: none(),
            notes: none(),
            held: AtomicUsize::new(0),
        }
    }
}

impl Flat {
    async fn is_holding(&self) {
        soon(self.holding.acquire()).await.unwrap().forget();
    }

    async fn has_dropped(&self) {
        soon(self.dropped.acquire()).await.unwrap().forget();
    }
}

struct Holding<'a>(&'a Flat);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.dropped.add_permits(1);
    }
}

impl Home for Flat {
    async fn double(&self, number: i64) -> i64 {
        number * 2
    }

    async fn measure(&self, text: &str) -> usize {
        text.len()
    }

    async fn repeat(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }

    async fn open(&self, door: u32) -> Result<(), DoorError> {
        Err(DoorError::Locked { door })
    }

    async fn time_given(&self, cx: &Context) -> Option<u64> {
        milliseconds(cx)
    }

    async fn hold(&self) {
        let holding = Holding(self);
        self.holding.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
        self.held.fetch_add(1, Ordering::SeqCst);
        std::mem::forget(holding);
    }

    async fn peer(&self, cx: &Context) -> Option<SocketAddr> {
        cx.peer()
    }

    async fn nag(&self, cx: &Context) -> bool {
        let late = cx.client::<DeskClient>().hang();
        let late = late.timeout(Duration::from_millis(1)).await;
        matches!(late, Err(CallError::Timeout))
    }

    async fn down(&self, cx: &Context, levels: u32) -> Result<u32, ErrorObject> {
        match levels {
            0 => Ok(0),
            _ => match cx.client::<DeskClient>().down(levels - 1).await {
                Ok(below) => Ok(below + 1),
                Err(CallError::Application(error)) => Err(error),
                Err(error) => Err(ErrorObject::new(8, error.to_string())),
            },
        }
    }

    async fn note(&self, _: &str) {
        self.notes.add_permits(1);
    }
}

/// A server and the clients of its callers.
struct Harness {
    identity: Identity,
    address: SocketAddr,
    server: ServerHandle,
    office: Office,
    hanging: Arc<Semaphore>,
    callers: mpsc::UnboundedReceiver<Client>,
}

impl Harness {
    fn new(limits: Limits) -> Self {
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let (office, callers) = Office::new();
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let (address, server) = open(&identity, anywhere, &office, limits);
        Self {
            identity,
            address,
            server,
            hanging: Arc::clone(&office.hanging),
            office,
            callers,
        }
    }

    /// Starts another server at the same address.
    fn open_again(&mut self) {
        let Self {
            identity,
            address,
            office,
            ..
        } = self;
        self.server = open(identity, *address, office, Limits::default()).1;
    }

    fn builder(&self) -> ClientBuilder {
        let (initial, max) = (Duration::from_millis(1), Duration::from_millis(50));
        Client::builder()
            .trust(Trust::certificate(self.identity.certificate()))
            .reconnect_backoff(initial, max)
    }

    /// Returns the client of the next caller that subscribes.
    async fn caller(&mut self) -> Client {
        soon(self.callers.recv()).await.unwrap()
    }
}

fn open(
    identity: &Identity,
    address: SocketAddr,
    office: &Office,
    limits: Limits,
) -> (SocketAddr, ServerHandle) {
    let server = Server::builder(identity.clone())
        .service(DeskServer::new(office.clone()))
        .limits(limits)
        .bind(address)
        .unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    tokio::spawn(server.run());
    (address, handle)
}

/// A client with a service, and its server.
struct Both {
    harness: Harness,
    client: Client,
    desk: DeskClient,
    flat: Arc<Flat>,
    /// The client of the server's caller.
    caller: Client,
    home: HomeClient,
}

async fn both() -> Both {
    both_within(Limits::default(), Limits::default()).await
}

async fn both_within(servers: Limits, clients: Limits) -> Both {
    let mut harness = Harness::new(servers);
    let flat = Arc::new(Flat::default());
    let client = harness
        .builder()
        .service(HomeServer::from_arc(Arc::clone(&flat)))
        .limits(clients)
        .connect(harness.address)
        .await
        .unwrap();
    let desk = DeskClient::new(client.clone());
    soon(desk.subscribe()).await.unwrap();
    let caller = harness.caller().await;
    Both {
        harness,
        client,
        desk,
        flat,
        home: HomeClient::new(caller.clone()),
        caller,
    }
}

fn execution<T: std::fmt::Debug, E: std::fmt::Debug>(ended: Result<T, CallError<E>>) -> Execution {
    match ended {
        Err(CallError::Connection { execution, .. }) => execution,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn limits_set_before_a_service_apply_on_both_ends() {
    let limits = || Limits {
        max_request_bytes: 1000,
        ..Limits::default()
    };
    let (office, mut callers) = Office::new();
    let server = TestServer::bind(|builder| {
        let builder = builder.limits(limits());
        builder.service(DeskServer::new(office)).bind(ANY_PORT)
    });
    let builder = server.client().limits(limits());
    let builder = builder.service(HomeServer::new(Flat::default()));
    let client = soon(builder.connect(server.address)).await.unwrap();
    soon(DeskClient::new(client.clone()).subscribe())
        .await
        .unwrap();
    let caller = soon(callers.recv()).await.unwrap();
    let text = "x".repeat(2000);
    // The first client must stay open, since the second uses its connection.
    for (client, method) in [(&client, "add"), (&caller, "home.measure")] {
        match soon(client.call::<usize, _>(method, &(&text,))).await {
            Err(CallError::Remote(error)) => assert_eq!(error.code(), code::REQUEST_TOO_LARGE),
            other => panic!("{other:?}"),
        }
    }
}

/// Polls a call until its handler runs.
async fn under_way<F: Future + Unpin>(call: &mut F, flat: &Flat) {
    tokio::select! {
        _ = call => panic!("it has ended"),
        () = flat.is_holding() => {}
    }
}

#[tokio::test]
async fn handler_calls_its_caller() {
    let both = both().await;
    assert_eq!(soon(both.desk.double(21)).await.unwrap(), 42);
}

#[tokio::test]
async fn caller_is_called_after_its_call_has_ended() {
    let both = both().await;
    assert_eq!(soon(both.home.double(4)).await.unwrap(), 8);
    soon(both.home.note("remember")).await.unwrap();
    soon(both.flat.notes.acquire()).await.unwrap().forget();
    let peer = soon(both.home.peer()).await.unwrap();
    assert_eq!(peer, Some(both.harness.address), "the caller is the server");
}

#[tokio::test]
async fn concurrent_calls_in_both_directions_get_their_own_results() {
    let both = both().await;
    let mut calls = JoinSet::new();
    for n in 0..300 {
        let (there, back) = (both.desk.add(n, n), both.home.double(n));
        let through = both.desk.double(n);
        calls.spawn(async move {
            assert_eq!(there.await.unwrap(), 2 * n);
            assert_eq!(back.await.unwrap(), 2 * n);
            assert_eq!(through.await.unwrap(), 2 * n);
        });
    }
    soon(calls.join_all()).await;
}

#[tokio::test]
async fn error_of_a_caller_arrives_typed() {
    let both = both().await;
    match soon(both.home.open(3)).await {
        Err(CallError::Application(error)) => assert_eq!(error, DoorError::Locked { door: 3 }),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn large_calls_to_a_client_use_dedicated_streams() {
    let both = both().await;
    let text = "x".repeat(300_000);
    assert_eq!(soon(both.home.measure(&text)).await.unwrap(), 300_000);
    for _ in 0..2 {
        let answer = soon(both.home.repeat("ab", 150_000)).await.unwrap();
        assert_eq!(answer.len(), 300_000);
    }
    assert_eq!(
        soon(both.home.double(1).dedicated_stream()).await.unwrap(),
        2
    );
}

#[tokio::test]
async fn dropped_call_to_a_client_drops_its_handler() {
    let both = both().await;
    let mut call = both.home.hold();
    under_way(&mut call, &both.flat).await;
    drop(call);
    both.flat.has_dropped().await;

    // Calls within a call and on a dedicated stream have the same result.
    let mut call = both.desk.hold();
    under_way(&mut call, &both.flat).await;
    drop(call);
    both.flat.has_dropped().await;
    let mut call = both.home.hold().dedicated_stream();
    under_way(&mut call, &both.flat).await;
    drop(call);
    both.flat.has_dropped().await;
    assert_eq!(soon(both.home.double(1)).await.unwrap(), 2);
}

/// Both ends count their calls from zero, and the handlers of a client share its connection.
#[tokio::test]
async fn cancellation_does_not_reach_a_call_with_the_same_id_in_the_other_direction() {
    let both = both().await;
    let mut there = both.desk.hold();
    under_way(&mut there, &both.flat).await;
    for _ in 0..20 {
        let mut back = both.home.hold();
        under_way(&mut back, &both.flat).await;
        drop(back);
        both.flat.has_dropped().await;
        let mut hanging = both.desk.hang();
        tokio::select! {
            ended = &mut hanging => panic!("{ended:?}"),
            hanging = soon(both.harness.hanging.acquire()) => hanging.unwrap().forget(),
        }
        assert!(soon(both.home.nag()).await.unwrap());
    }
    both.flat.go_on.add_permits(1);
    soon(there).await.unwrap();
}

#[tokio::test]
async fn call_to_a_client_inherits_the_deadline() {
    let both = both().await;
    assert_eq!(soon(both.desk.time_given()).await.unwrap(), None);
    let call = both.desk.time_given().timeout(Duration::from_secs(7));
    let given = soon(call).await.unwrap().expect("a deadline");
    assert!((1..=7_000).contains(&given), "{given}");

    let late = both.desk.hold().timeout(DEADLINE);
    assert!(matches!(soon(late).await, Err(CallError::Timeout)));
    both.flat.has_dropped().await;
}

#[tokio::test]
async fn client_without_services_rejects_calls_as_method_not_found() {
    let mut harness = Harness::new(Limits::default());
    let client = harness.builder().connect(harness.address).await.unwrap();
    let desk = DeskClient::new(client.clone());
    soon(desk.subscribe()).await.unwrap();
    let home: HomeClient = harness.caller().await.into();
    match soon(home.double(1)).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::METHOD_NOT_FOUND),
        other => panic!("{other:?}"),
    }
    soon(home.note("into the void")).await.unwrap();
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn client_serves_several_services() {
    #[rpc(namespace = "garden")]
    trait Garden {
        async fn water(&self, plants: u32) -> u32;
    }
    struct Beds;
    impl Garden for Beds {
        async fn water(&self, plants: u32) -> u32 {
            plants
        }
    }
    let mut harness = Harness::new(Limits::default());
    let builder = harness.builder().service(HomeServer::new(Flat::default()));
    let client = builder.service(GardenServer::new(Beds));
    let client = client.connect(harness.address).await.unwrap();
    soon(DeskClient::new(client.clone()).subscribe())
        .await
        .unwrap();
    let caller = harness.caller().await;
    let (home, garden) = (
        HomeClient::new(caller.clone()),
        GardenClient::new(caller.clone()),
    );
    assert_eq!(soon(home.double(2)).await.unwrap(), 4);
    assert_eq!(soon(garden.water(3)).await.unwrap(), 3);
    let by_name: u32 = soon(caller.call("garden.water", &[5])).await.unwrap();
    assert_eq!(by_name, 5);
}

#[tokio::test]
async fn duplicate_method_of_two_client_services_is_rejected() {
    let harness = Harness::new(Limits::default());
    let builder = harness.builder().service(HomeServer::new(Flat::default()));
    let twice = builder.service(HomeServer::new(Flat::default()));
    let refused = twice.connect(harness.address).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::DuplicateMethod { services, .. } if services == ["Home", "Home"]),
        "{refused}"
    );
}

#[tokio::test]
async fn limits_of_a_client_apply_to_its_server() {
    let clients = Limits {
        max_request_bytes: 200,
        ..Limits::default()
    };
    let both = both_within(Limits::default(), clients).await;
    match soon(both.home.measure(&"x".repeat(300))).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::REQUEST_TOO_LARGE),
        other => panic!("{other:?}"),
    }
    assert_eq!(soon(both.home.measure("short")).await.unwrap(), 5);
}

#[tokio::test]
async fn nested_calls_in_both_directions_succeed() {
    let few = Limits {
        max_concurrent_calls_per_connection: 5,
        ..Limits::default()
    };
    let both = both_within(few.clone(), few).await;
    for levels in [1, 2, 5, 9] {
        assert_eq!(soon(both.desk.down(levels)).await.unwrap(), levels);
    }
}

#[tokio::test]
async fn nested_calls_at_the_limit_of_calls_end_with_the_deadline() {
    let few = Limits {
        max_concurrent_calls_per_connection: 2,
        ..Limits::default()
    };
    let both = both_within(few.clone(), few).await;
    assert_eq!(soon(both.desk.down(3)).await.unwrap(), 3);
    let stuck = both.desk.down(4).timeout(DEADLINE);
    assert!(matches!(soon(stuck).await, Err(CallError::Timeout)));
    assert_eq!(soon(both.desk.down(3)).await.unwrap(), 3, "it is over");
}

#[tokio::test]
async fn closed_client_ends_the_calls_to_it() {
    let both = both().await;
    let mut call = both.home.hold();
    under_way(&mut call, &both.flat).await;
    soon(both.client.close()).await;
    assert_eq!(execution(soon(call).await), Execution::MayHaveExecuted);
    both.flat.has_dropped().await;
    let reason = soon(both.caller.closed()).await;
    assert!(
        matches!(reason, ConnectionError::ClosedByPeer { code: 0, .. }),
        "{reason}"
    );
    assert_eq!(
        execution(soon(both.home.double(1)).await),
        Execution::NotSent
    );
    assert_eq!(
        execution(soon(both.home.note("gone")).await),
        Execution::NotSent
    );
}

/// The connection belongs to the client.
#[tokio::test]
async fn closed_callback_client_keeps_the_connection() {
    let both = both().await;
    assert_eq!(soon(both.home.double(1)).await.unwrap(), 2);
    soon(both.caller.close()).await;
    assert_eq!(
        execution(soon(both.home.double(1)).await),
        Execution::NotSent
    );
    assert_eq!(soon(both.desk.add(1, 2)).await.unwrap(), 3);
    assert_eq!(soon(both.desk.add(3, 4)).await.unwrap(), 7);
}

/// A kept callback client does not keep the connection.
#[tokio::test]
async fn dropped_client_drops_its_services() {
    let both = both().await;
    let Both {
        client,
        desk,
        flat,
        caller,
        ..
    } = both;
    let service = Arc::downgrade(&flat);
    drop((client, desk, flat));
    soon(caller.closed()).await;
    eventually(|| service.strong_count() == 0).await;
}

/// A handler of the client that waits for the server must not keep the client alive.
#[tokio::test]
async fn client_dropped_while_its_handler_calls_the_server_disconnects() {
    #[rpc(namespace = "home")]
    trait Stuck {
        async fn wait(&self, cx: &Context);
    }
    struct Waiting(Arc<Semaphore>);
    impl Stuck for Waiting {
        async fn wait(&self, cx: &Context) {
            let desk = cx.client::<DeskClient>();
            self.0.add_permits(1);
            let _ = desk.hang().await;
        }
    }
    let mut harness = Harness::new(Limits::default());
    let waits = Arc::new(Semaphore::new(0));
    let service = StuckServer::new(Waiting(Arc::clone(&waits)));
    let client = harness
        .builder()
        .service(service)
        .connect(harness.address)
        .await
        .unwrap();
    soon(DeskClient::new(client.clone()).subscribe())
        .await
        .unwrap();
    let caller = harness.caller().await;
    let call = tokio::spawn(StuckClient::new(caller.clone()).wait());
    soon(waits.acquire()).await.unwrap().forget();
    drop(client);
    soon(caller.closed()).await;
    assert_eq!(
        execution(soon(call).await.unwrap()),
        Execution::MayHaveExecuted
    );
}

#[tokio::test]
async fn server_that_shuts_down_drops_the_handlers_of_its_clients() {
    let both = both().await;
    let mut call = both.home.hold();
    under_way(&mut call, &both.flat).await;
    soon(both.harness.server.shutdown(Duration::ZERO)).await;
    both.flat.has_dropped().await;
    assert_eq!(execution(soon(call).await), Execution::MayHaveExecuted);
    assert_eq!(
        execution(soon(both.home.double(1)).await),
        Execution::NotSent
    );
}

#[tokio::test]
async fn draining_server_can_call_its_clients() {
    let both = both().await;
    let mut held = both.desk.hold();
    under_way(&mut held, &both.flat).await;
    let server = both.harness.server.clone();
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(20)).await });
    // The server drains once it rejects calls.
    soon(async {
        while both.desk.add(1, 2).no_retry().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(soon(both.home.double(2)).await.unwrap(), 4);
    both.flat.go_on.add_permits(1);
    soon(held).await.unwrap();
    assert_eq!(both.flat.held.load(Ordering::SeqCst), 1);
    assert!(soon(shutdown).await.unwrap(), "all calls were finished");
    soon(both.caller.closed()).await;
    assert_eq!(
        execution(soon(both.home.double(2)).await),
        Execution::NotSent
    );
}

/// The second server binds the same address, although callback clients of the first are kept.
#[tokio::test]
async fn reconnected_client_serves_the_next_connection() {
    let mut both = both().await;
    soon(both.harness.server.shutdown(Duration::ZERO)).await;
    both.harness.open_again();
    assert_eq!(soon(both.desk.double(21)).await.unwrap(), 42);
    soon(both.desk.subscribe()).await.unwrap();
    let home: HomeClient = both.harness.caller().await.into();
    assert_eq!(soon(home.double(3)).await.unwrap(), 6);
    assert_eq!(
        execution(soon(both.home.double(1)).await),
        Execution::NotSent
    );
}

#[tokio::test]
async fn local_client_serves_its_server() {
    let (office, mut called) = Office::new();
    let client = Client::builder()
        .service(HomeServer::new(Flat::default()))
        .local(DeskServer::new(office));
    let desk = DeskClient::new(client.clone());
    assert_eq!(soon(desk.double(21)).await.unwrap(), 42);
    assert_eq!(soon(desk.down(5)).await.unwrap(), 5);
    soon(desk.subscribe()).await.unwrap();
    let home: HomeClient = soon(called.recv()).await.unwrap().into();
    soon(client.close()).await;
    assert_eq!(execution(soon(home.double(1)).await), Execution::NotSent);

    let (office, _called) = Office::new();
    let alone = DeskClient::new(Client::local(DeskServer::new(office)));
    match soon(alone.double(1)).await {
        Err(CallError::Application(error)) => {
            let reason = r#"Method not found (code -32601): "there is no method `home.double`""#;
            assert_eq!(error.message(), reason);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn caller_without_a_connection_cannot_be_called_back() {
    let (office, mut called) = Office::new();
    let mut responder = RawService::new(DeskServer::new(office));
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"double","params":[1]}"#;
    let answer = responder.respond(call).await;
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
    assert_eq!(
        answer["error"]["message"],
        "the call was not sent: the call came without a connection"
    );
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"subscribe"}"#;
    responder.respond(call).await;
    let caller = called.recv().await.unwrap();
    let home = HomeClient::new(caller.clone());
    assert_eq!(execution(soon(home.double(1)).await), Execution::NotSent);
    assert!(matches!(
        soon(caller.closed()).await,
        ConnectionError::Transport(_)
    ));
}

/// The server keeps no tasks of closed clients, and the clients drop their services, although a handler has kept a callback
/// client of each.
#[tokio::test]
async fn closed_bidirectional_connections_leave_no_tasks() {
    const ROUNDS: usize = 1_000;
    let mut harness = Harness::new(Limits::default());
    let mut kept = Vec::new();
    let mut services: Vec<Weak<Flat>> = Vec::new();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let mut tasks_before = 0;
    for round in 0..ROUNDS {
        let flat = Arc::new(Flat::default());
        services.push(Arc::downgrade(&flat));
        let client = harness
            .builder()
            .service(HomeServer::from_arc(flat))
            .connect(harness.address)
            .await
            .unwrap();
        let desk = DeskClient::new(client.clone());
        assert_eq!(soon(desk.double(1)).await.unwrap(), 2);
        soon(desk.subscribe()).await.unwrap();
        kept.push(harness.caller().await);
        soon(client.close()).await;
        if round == 10 {
            tasks_before = tasks();
        }
    }
    for caller in &kept {
        soon(caller.closed()).await;
    }
    // quinn keeps a closed connection for some time.
    eventually(|| tasks() <= tasks_before).await;
    let alive = services.iter().filter(|flat| flat.strong_count() > 0);
    assert_eq!(alive.count(), 0);
}
