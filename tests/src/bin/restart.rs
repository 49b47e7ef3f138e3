//! Restarts a server under a thousand clients and measures when they are answered again. `RELIABILITY.md` has its results.
//! Server and clients are two processes. Argument: the number of clients.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpc_runtime::{Client, Identity, Limits, Server, Trust, rpc};
use serde::{Deserialize, Serialize};
use tests::process::{Process, answer, requests};
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

/// The request to a server to drain.
#[derive(Debug, Serialize, Deserialize)]
struct Drain;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let clients = match arguments[..] {
        ["serve", folder, address] => return serve(Path::new(folder), address).await,
        [] => 1000,
        [clients] => clients.parse().expect("a number of clients"),
        _ => panic!("one argument at most: the number of clients"),
    };
    println!(
        "| the server | down ms | clients | answered after ms: p50 | p99 | last | failed calls |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (is_killed, down) in [
        (true, 0),
        (true, 500),
        (true, 2000),
        (false, 0),
        (false, 500),
        (false, 2000),
    ] {
        restart(clients, is_killed, Duration::from_millis(down)).await;
    }
}

async fn serve(folder: &Path, address: &str) {
    let identity = Identity::from_pem_files(folder.join("chain.pem"), folder.join("key.pem"));
    let server = Server::builder(identity.expect("an identity"))
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
    let mut requests = requests::<Drain>();
    while requests.recv().await.is_some() {
        answer(&handle.shutdown(Duration::from_secs(10)).await);
    }
}

/// When a client was last answered.
struct Clients {
    begin: Instant,
    /// In microseconds after `begin`; zero before the first answer after `up`.
    answered: Vec<AtomicU64>,
    up: AtomicU64,
    failed: AtomicU64,
}

impl Clients {
    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    async fn call(&self, number: usize, desk: DeskClient) {
        loop {
            let next = Instant::now() + PERIOD;
            sleep(PERIOD.mul_f64(fastrand::f64())).await;
            match desk.add(1, 2).await {
                Ok(_) if self.now() > self.up.load(Ordering::Relaxed) => {
                    let answered = &self.answered[number];
                    let _ = answered.compare_exchange(
                        0,
                        self.now(),
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                }
                Ok(_) => {}
                Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            sleep_until(next).await;
        }
    }

    fn all_answered(&self) -> bool {
        self.answered
            .iter()
            .all(|answered| answered.load(Ordering::Relaxed) > 0)
    }
}

async fn start_server(folder: &Path, address: SocketAddr) -> (Process, SocketAddr) {
    let folder = folder.to_str().expect("a folder with a name in UTF-8");
    Process::start(&["serve", folder, &address.to_string()]).await
}

async fn restart(count: usize, is_killed: bool, down: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let issued =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(path.join("chain.pem"), issued.cert.pem()).expect("a file");
    write_private(&path.join("key.pem"), &issued.signing_key.serialize_pem()).expect("a file");
    let trust = Trust::pem_file(path.join("chain.pem")).expect("a certificate");
    let (mut server, address) = start_server(path, ([127, 0, 0, 1], 0).into()).await;

    let clients = Arc::new(Clients {
        begin: Instant::now(),
        answered: (0..count).map(|_| AtomicU64::new(0)).collect(),
        up: AtomicU64::new(u64::MAX),
        failed: AtomicU64::new(0),
    });
    let mut calling = tokio::task::JoinSet::new();
    for number in 0..count {
        let client = Client::builder()
            .trust(trust.clone())
            .connect(address)
            .await;
        let desk = DeskClient::new(client.expect("a connection"));
        let clients = Arc::clone(&clients);
        calling.spawn(async move { clients.call(number, desk).await });
    }
    sleep(2 * PERIOD).await;
    match is_killed {
        true => server.kill().await,
        false => assert!(server.request::<bool>(&Drain).await, "calls were aborted"),
    }
    drop(server);
    sleep(down).await;
    let (_server, _) = start_server(path, address).await;
    let up = clients.now();
    clients.up.store(up, Ordering::Relaxed);
    let until = Instant::now() + PATIENCE;
    while !clients.all_answered() && Instant::now() < until {
        sleep(Duration::from_millis(10)).await;
    }
    let answered = clients
        .answered
        .iter()
        .map(|answered| answered.load(Ordering::Relaxed));
    let mut after: Vec<u64> = answered
        .map(|at| at.checked_sub(up).unwrap_or(u64::MAX) / 1000)
        .collect();
    after.sort_unstable();
    let how = if is_killed { "is killed" } else { "drains" };
    println!(
        "| {how} | {} | {count} | {} | {} | {} | {} |",
        down.as_millis(),
        after[count / 2],
        after[count * 99 / 100],
        after[count - 1],
        clients.failed.load(Ordering::Relaxed)
    );
}
