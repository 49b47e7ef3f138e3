//! The end of a server: when its address is free, and how it is told to end.

use std::any::Any;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, Identity, Server, ServerHandle, Trust, rpc};
use tests::support::{ANY_PORT, current_thread, soon};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A time limit that no shutdown reaches.
const LONG: Duration = Duration::from_secs(20);

#[rpc]
trait Desk {
    /// Waits for 20 ms.
    async fn wait(&self) -> bool;
    async fn wait_forever(&self);
    /// Keeps a stream of the caller's items, and the client that calls the caller.
    async fn keep(&self, cx: &Context);
}

/// The service of the caller.
#[rpc]
trait Ticker {
    fn ticks(&self) -> impl Stream<Item = u64>;
}

enum Event {
    /// A call of `wait` or `wait_forever` has started.
    Started,
    /// What a handler keeps after its call: handles of a connection.
    Kept(Box<dyn Any + Send>),
}

struct DeskService(mpsc::UnboundedSender<Event>);

impl Desk for DeskService {
    async fn wait(&self) -> bool {
        self.0.send(Event::Started).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        true
    }

    async fn wait_forever(&self) {
        self.0.send(Event::Started).unwrap();
        std::future::pending().await
    }

    async fn keep(&self, cx: &Context) {
        let ticker = cx.client::<TickerClient>();
        let mut ticks = ticker.ticks();
        assert_eq!(ticks.next().await.unwrap().unwrap(), 1);
        self.0.send(Event::Kept(Box::new((ticks, ticker)))).unwrap();
    }
}

struct TickerService;

impl Ticker for TickerService {
    fn ticks(&self) -> impl Stream<Item = u64> {
        stream::iter([1]).chain(stream::pending())
    }
}

/// A server that is not running yet.
struct Bound {
    server: Server,
    handle: ServerHandle,
    address: SocketAddr,
    trust: Trust,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Bound {
    fn new() -> Self {
        let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
        let trust = Trust::certificate(identity.certificate());
        let (sender, events) = mpsc::unbounded_channel();
        let server = Server::builder(identity)
            .service(DeskServer::new(DeskService(sender)))
            .bind(ANY_PORT)
            .unwrap();
        Self {
            handle: server.handle(),
            address: server.local_addr().unwrap(),
            server,
            trust,
            events,
        }
    }
}

/// Returns what a handler of `keep` keeps.
async fn kept(events: &mut mpsc::UnboundedReceiver<Event>) -> Box<dyn Any + Send> {
    match soon(events.recv()).await {
        Some(Event::Kept(kept)) => kept,
        Some(Event::Started) | None => panic!("no call of `keep` has ended"),
    }
}

async fn connect(address: SocketAddr, trust: Trust) -> (Client, DeskClient) {
    let client = Client::builder()
        .trust(trust)
        .reconnect(false)
        .service(TickerServer::new(TickerService));
    let client = soon(client.connect(address)).await.unwrap();
    (client.clone(), DeskClient::new(client))
}

/// Fails if a socket other than the server's uses the address.
fn assert_free(address: SocketAddr) {
    let bound = UdpSocket::bind(address);
    assert!(bound.is_ok(), "{bound:?}");
}

/// Shuts a server down 50 times, in turn with and without a call in flight, and binds its address at once.
async fn shut_down_50_times() {
    for round in 0..50 {
        let mut bound = Bound::new();
        let serving = tokio::spawn(bound.server.run());
        let (_client, desk) = connect(bound.address, bound.trust).await;
        let call = (round % 2 == 0).then(|| tokio::spawn(desk.wait()));
        if call.is_some() {
            assert!(matches!(
                soon(bound.events.recv()).await,
                Some(Event::Started)
            ));
        }
        assert!(soon(bound.handle.shutdown(LONG)).await);
        assert_free(bound.address);
        if let Some(call) = call {
            assert!(soon(call).await.unwrap().unwrap());
        }
        soon(serving).await.unwrap();
    }
}

#[test]
fn address_is_free_50_times_after_a_shutdown_on_one_thread() {
    current_thread().block_on(shut_down_50_times());
}

#[test]
fn address_is_free_50_times_after_a_shutdown_on_many_threads() {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(shut_down_50_times());
}

#[tokio::test]
async fn address_is_free_although_streams_and_clients_of_connections_are_kept() {
    let mut bound = Bound::new();
    let serving = tokio::spawn(bound.server.run());
    let mut kept = Vec::new();
    // The first connection has ended when the server shuts down, the second has not.
    let (client, first) = connect(bound.address, bound.trust.clone()).await;
    soon(first.keep()).await.unwrap();
    kept.push(self::kept(&mut bound.events).await);
    soon(client.close()).await;
    let (_client, second) = connect(bound.address, bound.trust).await;
    soon(second.keep()).await.unwrap();
    kept.push(self::kept(&mut bound.events).await);

    soon(bound.handle.shutdown(LONG)).await;
    assert_free(bound.address);
    soon(serving).await.unwrap();
    drop(kept);
}

/// Serves until the sender of the signal is used or dropped.
fn serve_until_signal(server: Server, limit: Duration) -> (oneshot::Sender<()>, JoinHandle<bool>) {
    let (signal, signalled) = oneshot::channel();
    let serving = tokio::spawn(server.serve_with_shutdown(signalled, limit));
    (signal, serving)
}

#[tokio::test]
async fn signal_drains_the_server_and_frees_its_address() {
    let mut bound = Bound::new();
    let (signal, serving) = serve_until_signal(bound.server, LONG);
    let (_client, desk) = connect(bound.address, bound.trust).await;
    let call = tokio::spawn(desk.wait());
    soon(bound.events.recv()).await.unwrap();
    signal.send(()).unwrap();
    assert!(soon(serving).await.unwrap(), "a call was aborted");
    assert_free(bound.address);
    assert!(soon(call).await.unwrap().unwrap());
}

#[tokio::test]
async fn calls_past_the_limit_after_the_signal_are_aborted() {
    let mut bound = Bound::new();
    let (signal, serving) = serve_until_signal(bound.server, Duration::from_millis(1));
    let (_client, desk) = connect(bound.address, bound.trust).await;
    let call = tokio::spawn(desk.wait_forever());
    soon(bound.events.recv()).await.unwrap();
    signal.send(()).unwrap();
    assert!(!soon(serving).await.unwrap(), "the call has not finished");
    let aborted = soon(call).await.unwrap();
    assert!(
        matches!(aborted, Err(CallError::Connection { .. })),
        "{aborted:?}"
    );
}

#[tokio::test]
async fn handle_ends_a_server_whose_signal_has_not_come() {
    let bound = Bound::new();
    let (_signal, serving) = serve_until_signal(bound.server, LONG);
    connect(bound.address, bound.trust).await;
    assert!(soon(bound.handle.shutdown(LONG)).await);
    assert!(soon(serving).await.unwrap());
    assert_free(bound.address);
}

#[tokio::test]
async fn address_is_free_when_the_first_of_two_shutdowns_at_the_same_time_returns() {
    for _ in 0..10 {
        let mut bound = Bound::new();
        tokio::spawn(bound.server.run());
        let (_client, desk) = connect(bound.address, bound.trust).await;
        let call = tokio::spawn(desk.wait());
        assert!(matches!(
            soon(bound.events.recv()).await,
            Some(Event::Started)
        ));
        let [one, other] = [(); 2].map(|()| {
            let handle = bound.handle.clone();
            Box::pin(async move { handle.shutdown(LONG).await })
        });
        let (finished, other) = soon(futures_util::future::select(one, other))
            .await
            .factor_first();
        assert!(finished);
        assert_free(bound.address);
        assert!(soon(other).await);
        assert!(soon(call).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn shutdown_with_a_longer_limit_returns_the_result_of_one_that_aborted_calls() {
    let mut bound = Bound::new();
    tokio::spawn(bound.server.run());
    let (_client, desk) = connect(bound.address, bound.trust).await;
    let call = tokio::spawn(desk.wait_forever());
    assert!(matches!(
        soon(bound.events.recv()).await,
        Some(Event::Started)
    ));
    let (longer, shorter) = soon(async {
        tokio::join!(
            bound.handle.shutdown(LONG),
            bound.handle.shutdown(Duration::ZERO)
        )
    })
    .await;
    assert_eq!((longer, shorter), (false, false));
    assert!(soon(call).await.unwrap().is_err());
    assert_free(bound.address);
}
