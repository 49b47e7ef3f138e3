//! Restarts a server under a thousand clients and measures when they are answered again. `RELIABILITY.md` has its results.
//! Server and clients are two processes. Arguments: the number of clients, and the first letters of what happens to the server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_runtime::event::Event;
use rpc_runtime::{Client, ConnectionError, Identity, Limits, Server, Trust, rpc};
use serde::{Deserialize, Serialize};
use tests::process::{Process, answer, requests};
use tests::resources::processor_time;
use tests::support::write_private;
use tokio::time::{Instant, sleep, sleep_until};

/// Each client makes a call in each period, at a random time.
const PERIOD: Duration = Duration::from_millis(200);

/// The maximum time that the clients have to be answered again.
const PATIENCE: Duration = Duration::from_secs(60);

#[rpc]
trait Desk {
    #[rpc(idempotent)]
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Counter;

impl Desk for Counter {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

/// A request to a server.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// To drain, which it answers with `true` if every call finished.
    Drain,
    /// For its [`Accepted`].
    Accepted,
}

/// What a server did since it was started.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Accepted {
    connections: u64,
    /// Handshakes that began again to validate the address.
    retries: u64,
    /// Handshakes whose packets were dropped at a limit, or that were ended to make room.
    refused: u64,
    failed: u64,
    processor: Duration,
}

impl Accepted {
    fn count(&mut self, event: &Event<'_>) {
        match event {
            Event::ConnectionOpened { .. } => self.connections += 1,
            Event::RetrySent { .. } => self.retries += 1,
            Event::ConnectionRefused { .. } => self.refused += 1,
            Event::HandshakeFailed { .. } => self.failed += 1,
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let number = |clients: &str| clients.parse().expect("a number of clients");
    let (clients, only) = match arguments[..] {
        ["serve", folder, address] => return serve(Path::new(folder), address).await,
        [] => (1000, ""),
        [clients] => (number(clients), ""),
        [clients, only] => (number(clients), only),
        _ => panic!("two arguments at most: the number of clients, and `killed` or `drains`"),
    };
    bound(clients).await;
    println!(
        "| the server | down ms | clients | answered after ms: p50 | p99 | last | failed calls | attempts | failed | resets \
         | Retry packets | refused | failed handshakes | processor ms: server | clients |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (end, down) in [
        ("killed", 0),
        ("killed", 500),
        ("killed", 2000),
        ("drains", 0),
        ("drains", 500),
        ("drains", 2000),
    ] {
        if end.starts_with(only) {
            restart(clients, end, Duration::from_millis(down)).await;
        }
    }
}

async fn serve(folder: &Path, address: &str) {
    let identity = Identity::from_pem_files(folder.join("chain.pem"), folder.join("key.pem"));
    let accepted = Arc::new(Mutex::new(Accepted::default()));
    let counted = Arc::clone(&accepted);
    let server = Server::builder(identity.expect("an identity"))
        .on_event(move |event: &Event<'_>| counted.lock().expect("counts").count(event))
        .service(DeskServer::new(Counter))
        // All clients have one address.
        .limits(Limits {
            max_connections_per_address: 10_000,
            max_percent_per_address: 100,
            max_percent_per_network: 100,
            ..Limits::default()
        })
        .bind(address)
        .expect("a server");
    let handle = server.handle();
    answer(&server.local_addr().expect("its address"));
    tokio::spawn(server.run());
    let mut requests = requests();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Drain => answer(&handle.shutdown(Duration::from_secs(10)).await),
            Request::Accepted => {
                let accepted = *accepted.lock().expect("counts");
                let processor = processor_time();
                answer(&Accepted {
                    processor,
                    ..accepted
                });
            }
        }
    }
}

/// What happened to the clients.
struct Clients {
    begin: Instant,
    /// When each was answered, in microseconds after `begin`; zero before the first answer after `up`.
    answered: Vec<AtomicU64>,
    up: AtomicU64,
    failed_calls: AtomicU64,
    connected: AtomicU64,
    failed_attempts: AtomicU64,
    resets: AtomicU64,
}

impl Clients {
    fn new(count: usize) -> Self {
        Self {
            begin: Instant::now(),
            answered: (0..count).map(|_| AtomicU64::new(0)).collect(),
            up: AtomicU64::new(u64::MAX),
            failed_calls: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            failed_attempts: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    fn count(&self, event: &Event<'_>) {
        let counter = match event {
            Event::Connected { .. } => &self.connected,
            Event::ConnectFailed { .. } => &self.failed_attempts,
            Event::Disconnected { reason, .. } => match reason.downcast_ref() {
                Some(ConnectionError::Reset) => &self.resets,
                _ => return,
            },
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    async fn connect(self: &Arc<Self>, trust: Trust, server: SocketAddr) -> DeskClient {
        let clients = Arc::clone(self);
        let client = Client::builder()
            .trust(trust)
            .on_event(move |event: &Event<'_>| clients.count(event))
            .connect(server)
            .await;
        DeskClient::new(client.expect("a connection"))
    }

    async fn call(&self, number: usize, desk: DeskClient) {
        loop {
            let next = Instant::now() + PERIOD;
            sleep(PERIOD.mul_f64(fastrand::f64())).await;
            match desk.add(1, 2).await {
                Ok(_) if self.now() > self.up.load(Ordering::Relaxed) => {
                    let (answered, now) = (&self.answered[number], self.now());
                    let _ = answered.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => {
                    self.failed_calls.fetch_add(1, Ordering::Relaxed);
                }
            }
            sleep_until(next).await;
        }
    }

    async fn all_answered(&self) {
        let until = Instant::now() + PATIENCE;
        let is_answered = |answered: &AtomicU64| answered.load(Ordering::Relaxed) > 0;
        while !self.answered.iter().all(is_answered) && Instant::now() < until {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the times after `up` when the clients were answered, in milliseconds, in ascending order.
    fn times(&self) -> Vec<u64> {
        let up = self.up.load(Ordering::Relaxed);
        let answered = self
            .answered
            .iter()
            .map(|answered| answered.load(Ordering::Relaxed));
        let mut times: Vec<u64> = answered
            .map(|at| at.checked_sub(up).unwrap_or(u64::MAX) / 1000)
            .collect();
        times.sort_unstable();
        times
    }
}

async fn start_server(folder: &Path, address: SocketAddr) -> (Process, SocketAddr) {
    let folder = folder.to_str().expect("a folder with a name in UTF-8");
    Process::start(&["serve", folder, &address.to_string()]).await
}

/// Writes the files of a server, and returns what its clients trust.
fn write_files(folder: &Path) -> Trust {
    let issued =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("chain.pem"), issued.cert.pem()).expect("a file");
    write_private(&folder.join("key.pem"), &issued.signing_key.serialize_pem()).expect("a file");
    Trust::pem_file(folder.join("chain.pem")).expect("a certificate")
}

/// Prints the processor time that clients and their server need to connect and for one call of each, one after the other and
/// without faults.
async fn bound(count: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let trust = write_files(folder.path());
    let (mut server, address) = start_server(folder.path(), ([127, 0, 0, 1], 0).into()).await;
    let clients = Arc::new(Clients::new(count));
    let of_clients = processor_time();
    let mut connected = Vec::new();
    for _ in 0..count {
        let desk = clients.connect(trust.clone(), address).await;
        desk.add(1, 2).await.expect("an answer");
        connected.push(desk);
    }
    let of_clients = processor_time() - of_clients;
    let accepted: Accepted = server.request(&Request::Accepted).await;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let both = (of_clients + accepted.processor) / u32::try_from(processors).expect("few");
    println!(
        "{count} clients that connect one after the other and call once: server {} ms, clients {} ms of a processor; \
         {} ms on {processors} processors\n",
        accepted.processor.as_millis(),
        of_clients.as_millis(),
        both.as_millis(),
    );
}

async fn restart(count: usize, end: &str, down: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let trust = write_files(folder.path());
    let (mut server, address) = start_server(folder.path(), ([127, 0, 0, 1], 0).into()).await;
    let clients = Arc::new(Clients::new(count));
    let mut calling = tokio::task::JoinSet::new();
    for number in 0..count {
        let desk = clients.connect(trust.clone(), address).await;
        let clients = Arc::clone(&clients);
        calling.spawn(async move { clients.call(number, desk).await });
    }
    sleep(2 * PERIOD).await;
    let before = clients.connected.load(Ordering::Relaxed);
    match end {
        "killed" => server.kill().await,
        _ => assert!(
            server.request::<bool>(&Request::Drain).await,
            "calls were aborted"
        ),
    }
    drop(server);
    sleep(down).await;
    let processor = processor_time();
    let (mut server, _) = start_server(folder.path(), address).await;
    clients.up.store(clients.now(), Ordering::Relaxed);
    clients.all_answered().await;
    let processor = processor_time() - processor;
    let accepted: Accepted = server.request(&Request::Accepted).await;
    let times = clients.times();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let failed = of(&clients.failed_attempts);
    println!(
        "| {end} | {} | {count} | {} | {} | {} | {} | {} | {failed} | {} | {} | {} | {} | {} | {} |",
        down.as_millis(),
        times[count / 2],
        times[count * 99 / 100],
        times[count - 1],
        of(&clients.failed_calls),
        of(&clients.connected) - before + failed,
        of(&clients.resets),
        accepted.retries,
        accepted.refused,
        accepted.failed,
        accepted.processor.as_millis(),
        processor.as_millis(),
    );
}
