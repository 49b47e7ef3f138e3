//! A call over QUIC allocates at most a tenth more than QUIC itself.
//!
//! The reference is quinn alone: the same bytes, echoed on one stream, with as many messages in flight, in the same
//! run. Each end has its own thread, whose allocations and reallocations are counted. What remains is quinn's: packets
//! and their state, segments of streams, datagrams passed from the socket to the connection.

use std::thread;

use rpc_runtime::{Client, Context, Identity, Limits, Server, Trust, rpc};
use tests::peer::{RawClient, RawServer, RawStream};
use tests::support::{current_thread, serve};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// The number of messages of one measurement and of its warm-up. It is so large that spawning the callers does not
/// matter.
fn messages(in_flight: usize) -> usize {
    2_000 + 500 * in_flight
}

/// Allocations per message, on each end.
#[derive(Clone, Copy)]
struct Allocations {
    client: f64,
    server: f64,
}

impl Allocations {
    fn both(self) -> f64 {
        self.client + self.server
    }
}

impl std::fmt::Display for Allocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.3} on the client and {:.3} on the server",
            self.client, self.server
        )
    }
}

/// A server on its own thread, which starts and stops counting on request.
struct ServerThread {
    start: oneshot::Sender<()>,
    stop: oneshot::Sender<()>,
    counted: thread::JoinHandle<u64>,
}

impl ServerThread {
    /// `serve` starts a server and returns its port and a guard that is dropped at the end.
    fn new<G: 'static>(serve: impl FnOnce() -> (u16, G) + Send + 'static) -> (u16, Self) {
        let (start, started) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (port, bound) = std::sync::mpsc::channel();
        let counted = thread::spawn(move || {
            let runtime = current_thread();
            let guard = runtime.enter();
            let (bound_to, _held) = serve();
            drop(guard);
            port.send(bound_to).unwrap();
            runtime.block_on(started).unwrap();
            allocation_counter::measure(|| runtime.block_on(stopped).unwrap()).count_total
        });
        (
            bound.recv().unwrap(),
            Self {
                start,
                stop,
                counted,
            },
        )
    }

    fn count(
        self,
        runtime: &Runtime,
        in_flight: usize,
        mut load: impl AsyncFnMut(),
    ) -> Allocations {
        runtime.block_on(load());
        self.start.send(()).unwrap();
        let client = allocation_counter::measure(|| runtime.block_on(load())).count_total;
        self.stop.send(()).unwrap();
        let server = self.counted.join().unwrap();
        let each = |count| count as f64 / messages(in_flight) as f64;
        Allocations {
            client: each(client),
            server: each(server),
        }
    }
}

#[rpc]
trait Adder {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Desk;

impl Adder for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

fn ours(in_flight: usize) -> Allocations {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let (port, server) = ServerThread::new(move || {
        let server = Server::builder(identity)
            .service(AdderServer::new(Desk))
            .bind("127.0.0.1:0");
        let server = server.unwrap();
        (
            server.local_addr().unwrap().port(),
            tokio::spawn(server.run()),
        )
    });
    let runtime = current_thread();
    let client = runtime.block_on(async {
        let builder = Client::builder().trust(trust);
        builder.connect(format!("localhost:{port}")).await.unwrap()
    });
    let adder = AdderClient::new(client);
    server.count(&runtime, in_flight, async || {
        let callers = (0..in_flight).map(|_| {
            let adder = adder.clone();
            tokio::spawn(async move {
                for n in 0..(messages(in_flight) / in_flight) as i64 {
                    assert_eq!(adder.add(n, 1).await.unwrap(), n + 1);
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    })
}

/// About the size of a call and of its response.
const MESSAGE: &[u8] =
    b"{\"jsonrpc\":\"2.0\",\"id\":1234567890,\"method\":\"add\",\"params\":[123,1]}\n";

fn quinn_alone(in_flight: usize) -> Allocations {
    let (reach, reached) = std::sync::mpsc::channel();
    let (_port, server) = ServerThread::new(move || {
        let server = RawServer::start();
        let address = server.address();
        let certificate = server.certificate().to_vec();
        reach.send((address, certificate)).unwrap();
        (address.port(), tokio::spawn(echo(server)))
    });
    let (address, certificate) = reached.recv().unwrap();
    let runtime = current_thread();
    let RawStream {
        mut send, mut recv, ..
    } = runtime.block_on(async {
        let connection = RawClient::to(address, &certificate).dial().await;
        connection.open().await
    });
    let burst = MESSAGE.repeat(in_flight);
    server.count(&runtime, in_flight, async || {
        for _ in 0..messages(in_flight) / in_flight {
            send.write_all(&burst).await.unwrap();
            let mut left = burst.len();
            while left > 0 {
                left -= recv
                    .read_chunk(left, true)
                    .await
                    .unwrap()
                    .unwrap()
                    .bytes
                    .len();
            }
        }
    })
}

/// Sends back each chunk that it reads.
async fn echo(server: RawServer) {
    let connection = server.accept().await;
    let (mut send, mut recv) = connection.accept_bi().await.unwrap();
    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
        send.write_chunk(chunk.bytes).await.unwrap();
    }
}

#[test]
fn call_over_quic_allocates_within_a_tenth_of_quinn_alone() {
    for in_flight in [1, 64, 512] {
        // How many messages share a packet depends on scheduling, so the best of several attempts counts.
        let within = (0..10).any(|_| {
            let (ours, quinn) = (ours(in_flight), quinn_alone(in_flight));
            println!("{in_flight:>3} in flight: ours {ours}, quinn alone {quinn}");
            ours.both() <= 1.1 * quinn.both()
        });
        assert!(
            within,
            "{in_flight} in flight: more than a tenth above quinn alone"
        );
    }
}

#[rpc]
trait Mirror {
    /// Returns the number of allocations of the handler when it reads the caller's address.
    async fn allocations_for_peer(&self, cx: &Context) -> u64;
}

struct MirrorService;

impl Mirror for MirrorService {
    async fn allocations_for_peer(&self, cx: &Context) -> u64 {
        let asked = allocation_counter::measure(|| assert!(cx.peer().is_some()));
        asked.count_total
    }
}

#[test]
fn address_of_the_caller_allocates_nothing() {
    current_thread().block_on(async {
        let (client, _handle) = serve(MirrorServer::new(MirrorService), Limits::default()).await;
        let mirror = MirrorClient::new(client);
        assert_eq!(mirror.allocations_for_peer().await.unwrap(), 0);
    });
}
