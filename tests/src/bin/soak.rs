//! A million calls on changing connections, some of them cancelled or failing, after which both processes have the same
//! resources as before. Then many idle connections, to measure the memory of each. `RELIABILITY.md` has the figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_runtime::{
    CallError, Client, ClientBuilder, ErrorObject, Identity, Limits, Server, Trust, rpc,
};
use tests::process::{Process, answer, requests};
use tests::resources::Resources;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep};

const CALLS: usize = 1_000_000;

/// The number of calls of a connection.
const CHURN: usize = 10_000;

const IN_FLIGHT: usize = 64;

/// The number of calls after which memory no longer grows.
const WARM: usize = 100_000;

/// The growth of memory that is allowed.
const GROWTH: usize = 8 << 20;

const IDLE_CONNECTIONS: usize = 10_000;

/// The memory that an idle connection may take on the server.
const IDLE_COST: usize = 64 << 10;

#[rpc]
trait Work {
    async fn echo(&self, text: &str) -> String;
    async fn refuse(&self) -> Result<(), ErrorObject>;
    async fn hang(&self);
}

struct Worker;

impl Work for Worker {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn refuse(&self) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(1, "no"))
    }

    async fn hang(&self) {
        std::future::pending().await
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => serve().await,
        [] => all(CALLS, IDLE_CONNECTIONS).await,
        [calls, connections] => {
            let number = |text: &str| text.parse().expect("a number");
            all(number(calls), number(connections)).await;
        }
        _ => panic!("two arguments or none: the number of calls and that of idle connections"),
    }
}

async fn all(calls: usize, connections: usize) {
    soak(calls).await;
    println!();
    idle(connections).await;
}

/// Serves, and reports its resources on each request.
async fn serve() {
    let identity = Identity::self_signed(["127.0.0.1"]).expect("an identity");
    let certificate = identity.certificate().to_pem();
    // With default limits, a server would take this for an attack.
    let server = Server::builder(identity).limits(Limits {
        max_connections_per_address: usize::MAX,
        max_connections: usize::MAX,
        max_handshakes: usize::from(u16::MAX),
        max_unvalidated_handshakes: usize::from(u16::MAX),
        max_net_cancellations: usize::MAX,
        ..Limits::default()
    });
    let server = server.service(WorkServer::new(Worker));
    let server = server.bind("127.0.0.1:0").expect("a server");
    answer(&(server.local_addr().expect("its address"), certificate));
    tokio::spawn(server.run());
    let mut requests = requests::<()>();
    while requests.recv().await.is_some() {
        answer(&Resources::now());
    }
}

struct Host {
    process: Process,
    address: SocketAddr,
    trust: Trust,
}

impl Host {
    async fn start() -> Self {
        let (process, (address, certificate)) = Process::start(&["serve"]).await;
        let certificate: String = certificate;
        Self {
            process,
            address,
            trust: Trust::pem(certificate.as_bytes()).expect("a certificate"),
        }
    }

    async fn resources(&mut self) -> Resources {
        self.process.request(&()).await
    }

    fn builder(&self) -> ClientBuilder {
        Client::builder().trust(self.trust.clone())
    }

    async fn connect(&self) -> Client {
        let client = self.builder().connect(self.address).await;
        client.expect("a connection")
    }

    /// Returns the resources of both processes once they have as many tasks and descriptors as before.
    async fn released(&mut self, before: [Resources; 2]) -> [Resources; 2] {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let now = [self.resources().await, Resources::now()];
            let is_released = before.iter().zip(&now).all(|(before, now)| {
                now.tasks <= before.tasks && now.descriptors <= before.descriptors
            });
            if is_released {
                return now;
            }
            assert!(Instant::now() < end, "before {before:?}, now {now:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Makes a call, whose kind depends on its number.
async fn call(work: &WorkClient, number: usize) {
    match number % 10 {
        0 => {
            let ended = work.hang().timeout(Duration::from_millis(1)).await;
            assert!(matches!(ended, Err(CallError::Timeout)), "{ended:?}");
        }
        1 | 2 => {
            let call = match number % 10 {
                1 => work.hang(),
                _ => work.hang().dedicated_stream(),
            };
            tokio::select! {
                biased;
                ended = call => panic!("{ended:?}"),
                () = yield_now() => {}
            }
        }
        3 => {
            let ended = work.refuse().await;
            assert!(matches!(ended, Err(CallError::Application(_))), "{ended:?}");
        }
        _ => {
            let text = number.to_string();
            assert_eq!(work.echo(&text).await.expect("an answer"), text);
        }
    }
}

/// Makes the calls of one connection.
async fn connection(client: Client, calls: usize) {
    let work = WorkClient::new(client.clone());
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (work, next) = (work.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                call(&work, number).await;
            }
        });
    }
    callers.join_all().await;
    client.close().await;
}

async fn soak(calls: usize) {
    let mut host = Host::start().await;
    let before = [host.resources().await, Resources::now()];
    let mut warm = before;
    println!("| calls | server MiB | fds | tasks | client MiB | fds | tasks |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let report = |calls: usize, [server, client]: [Resources; 2]| {
        println!("| {calls} | {server} | {client} |");
    };
    report(0, before);
    let mut done = 0;
    while done < calls {
        connection(host.connect().await, CHURN).await;
        done += CHURN;
        if done == WARM {
            warm = host.released(before).await;
            report(done, warm);
        }
    }
    let after = host.released(before).await;
    report(done, after);
    for (warm, after) in warm.iter().zip(after) {
        let most = warm.memory + GROWTH.max(warm.memory / 20);
        assert!(done <= WARM || after.memory <= most, "memory has grown");
    }
}

async fn idle(connections: usize) {
    let mut host = Host::start().await;
    let work = WorkClient::new(host.connect().await);
    work.echo("warm").await.expect("an answer");
    let before = host.resources().await;
    let mut clients = Vec::with_capacity(connections);
    let mut connecting = JoinSet::new();
    let start = Instant::now();
    for number in 0..connections {
        let (builder, address) = (host.builder(), host.address);
        connecting.spawn(async move {
            let client = builder.connect(address).await.expect("a connection");
            let text = number.to_string();
            let echoed: String = client.call("echo", &[&text]).await.expect("an answer");
            assert_eq!(echoed, text);
            client
        });
        while connecting.len() >= IN_FLIGHT {
            clients.extend(
                connecting
                    .join_next()
                    .await
                    .map(|client| client.expect("a client")),
            );
        }
    }
    clients.extend(connecting.join_all().await);
    let took = start.elapsed();
    let after = host.resources().await;
    let each = (after.memory - before.memory) / connections;
    println!(
        "{connections} connections, made in {:.1} s, cost the server {:.1} KiB each ({:.0} MiB in all)",
        took.as_secs_f64(),
        each as f64 / 1024.0,
        after.memory as f64 / f64::from(1 << 20),
    );
    assert!(each <= IDLE_COST, "an idle connection costs too much");
    // The connections are still open.
    for client in &clients {
        let echoed: String = client.call("echo", &["still"]).await.expect("an answer");
        assert_eq!(echoed, "still");
    }
}
