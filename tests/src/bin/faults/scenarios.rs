//! The scenarios. Each has its own server, relay and journal.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rpc_runtime::{Client, Trust};
use tempfile::TempDir;
use tests::call_log::{COLUMNS, CallLog, CallOptions, CallResult, Figures, Streams};
use tests::harness::connect;
use tests::ledger::{Journal, LedgerClient};
use tests::process::Process;
use tests::relay::{DatagramCounts, Faults};
use tests::support::write_private;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::{Drain, Drained, Request};

const IN_FLIGHT: usize = 64;

/// The idle timeout, and a second to notice it.
const IDLE: Duration = Duration::from_secs(16);

/// The time limit of a drain.
const DRAIN: Duration = Duration::from_secs(30);

/// Faults of every kind, with this loss and round trips of 8 to 12 ms.
fn bad_network(loss: f64) -> Faults {
    Faults {
        loss,
        duplication: 0.05,
        corruption: 0.001,
        reordering: 0.25,
        delay: Duration::from_millis(4),
        jitter: Duration::from_millis(2),
    }
}

/// Half of the calls use dedicated streams.
const MIXED: CallOptions = CallOptions {
    work: Duration::ZERO,
    timeout: None,
    streams: Streams::Mixed,
};

/// Runs the scenarios whose names contain `wanted`.
pub(crate) async fn play(calls: usize, seed: u64, wanted: &str) {
    head();
    let is_wanted = |name: &str| name.contains(wanted);
    for (name, faults) in [
        ("no faults", Faults::default()),
        ("loss 0 %", bad_network(0.0)),
        ("loss 1 %", bad_network(0.01)),
        ("loss 5 %", bad_network(0.05)),
        ("loss 20 %", bad_network(0.2)),
    ] {
        if is_wanted(name) {
            let harness = ProcessHarness::start(seed).await;
            let figures = harness.lossy(faults, calls).await;
            report(name, &figures);
            assert_eq!(figures.count(CallResult::Ok), calls, "all are answered");
        }
    }
    let name = "deadlines of 30 ms, loss 1 %";
    if is_wanted(name) {
        report(name, &late(calls, seed).await);
    }
    let name = "blackhole of 5 s";
    if is_wanted(name) {
        let figures = blackhole(calls, seed, Duration::from_secs(5)).await;
        report(name, &figures);
        assert_eq!(figures.count(CallResult::Ok), calls, "all are answered");
    }
    let name = "blackhole of 20 s";
    if is_wanted(name) {
        let figures = blackhole(calls, seed, Duration::from_secs(20)).await;
        report(name, &figures);
        assert!(figures.longest() < IDLE, "noticed too late");
    }
    let name = "kill -9";
    if is_wanted(name) {
        let figures = killed(calls, seed, false).await;
        report(name, &figures);
        assert!(figures.longest() < IDLE, "noticed too late");
    }
    let name = "kill -9 and restart";
    if is_wanted(name) {
        let figures = killed(calls, seed, true).await;
        report(name, &figures);
        assert!(
            figures.count(CallResult::Ok) >= calls,
            "a new client is served"
        );
    }
    let name = "drain under load, loss 1 %";
    if is_wanted(name) {
        let figures = drained(calls, seed).await;
        report(name, &figures);
        let lost = figures.count(CallResult::MayHaveExecuted) + figures.count(CallResult::Timeout);
        assert_eq!(lost, 0, "a drain loses no call");
    }
}

fn head() {
    let columns = COLUMNS.split('|').count();
    println!("| scenario | {COLUMNS} |");
    println!("|---{}|", "|---:".repeat(columns));
}

fn report(name: &str, figures: &Figures) {
    println!("| {name} | {figures} |");
}

async fn late(calls: usize, seed: u64) -> Figures {
    let mut harness = ProcessHarness::start(seed).await;
    harness.request(Request::Faults(bad_network(0.01))).await;
    let options = CallOptions {
        timeout: Some(Duration::from_millis(30)),
        ..MIXED
    };
    harness.load(calls, options).await.expect("the load");
    harness.finish().await
}

async fn blackhole(calls: usize, seed: u64, length: Duration) -> Figures {
    let mut harness = ProcessHarness::start(seed).await;
    harness.request(Request::Faults(bad_network(0.0))).await;
    let load = harness.load(calls, MIXED);
    harness.call_log.has_ended(calls / 3).await;
    harness.request(Request::Blackhole(true)).await;
    sleep(length).await;
    harness.request(Request::Blackhole(false)).await;
    load.await.expect("the load");
    harness.finish().await
}

/// Makes calls with responses of 1 MiB, with and without a change of address.
pub(crate) async fn large(seed: u64) {
    head();
    let steady = Faults {
        delay: Duration::from_millis(5),
        ..Faults::default()
    };
    for (network, faults) in [("5 ms each way", steady), ("loss 0 %", bad_network(0.0))] {
        for (address, moves) in [("", false), (", another address in the middle", true)] {
            let figures = mebibytes(seed, faults, moves).await;
            report(&format!("{network}{address}"), &figures);
            assert_eq!(
                figures.count(CallResult::Ok),
                figures.calls(),
                "all are answered"
            );
        }
    }
}

async fn mebibytes(seed: u64, faults: Faults, moves: bool) -> Figures {
    const BYTES: usize = 1 << 20;
    let mut harness = ProcessHarness::start(seed).await;
    harness.request(Request::Faults(faults)).await;
    let mut in_the_middle = 0;
    for _ in 0..20 {
        let (call_log, ledger) = (Arc::clone(&harness.call_log), harness.ledger.clone());
        let call = tokio::spawn(async move { call_log.fetch(&ledger, BYTES).await });
        if moves {
            harness
                .request(Request::HasDelivered(BYTES as u64 / 3))
                .await;
            harness.request(Request::Rebind).await;
            in_the_middle += usize::from(!call.is_finished());
        }
        call.await.expect("the call");
    }
    assert!(
        !moves || in_the_middle > 10,
        "only {in_the_middle} met an answer in its middle"
    );
    harness.finish().await
}

async fn killed(calls: usize, seed: u64, restart: bool) -> Figures {
    let mut harness = ProcessHarness::start(seed).await;
    let load = harness.load(calls, MIXED);
    harness.call_log.has_ended(calls / 3).await;
    harness.server.kill().await;
    harness.ended = true;
    if restart {
        let address = harness.address;
        harness.server = serve(harness.folder.path(), address).await.0;
        harness.ended = false;
        harness.ledger = harness.connect().await;
        harness.load(calls, MIXED).await.expect("the load");
    }
    load.await.expect("the load");
    harness.finish().await
}

async fn drained(calls: usize, seed: u64) -> Figures {
    let mut harness = ProcessHarness::start(seed).await;
    harness.request(Request::Faults(bad_network(0.01))).await;
    let options = CallOptions {
        work: Duration::from_millis(5),
        ..MIXED
    };
    let load = harness.load(calls, options);
    harness.call_log.has_ended(calls / 3).await;
    harness.drain().await;
    load.await.expect("the load");
    harness.finish().await
}

struct ProcessHarness {
    folder: TempDir,
    address: SocketAddr,
    server: Process,
    /// `true` if the server has ended.
    ended: bool,
    relay: Process,
    relay_address: SocketAddr,
    ledger: LedgerClient,
    call_log: Arc<CallLog>,
}

async fn serve(folder: &Path, address: SocketAddr) -> (Process, SocketAddr) {
    let folder = folder.to_str().expect("a folder with a name in UTF-8");
    Process::start(&["serve", folder, &address.to_string()]).await
}

fn trust(folder: &Path) -> Trust {
    Trust::pem_file(folder.join("chain.pem")).expect("a certificate")
}

impl ProcessHarness {
    async fn start(seed: u64) -> Self {
        // For this user only, and removed when dropped.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let issued = issued.expect("a certificate");
        fs::write(path.join("chain.pem"), issued.cert.pem()).expect("a file");
        let key = issued.signing_key.serialize_pem();
        write_private(&path.join("key.pem"), &key).expect("a file");
        let (server, address) = serve(path, ([127, 0, 0, 1], 0).into()).await;
        let (to, seed) = (address.to_string(), seed.to_string());
        let (relay, relay_address) = Process::start(&["relay", &to, &seed]).await;
        let call_log = CallLog::new();
        Self {
            ledger: connect(Client::builder(), trust(path), relay_address).await,
            folder,
            address,
            server,
            ended: false,
            relay,
            relay_address,
            call_log,
        }
    }

    async fn connect(&self) -> LedgerClient {
        connect(
            Client::builder(),
            trust(self.folder.path()),
            self.relay_address,
        )
        .await
    }

    async fn request(&mut self, request: Request) -> DatagramCounts {
        self.relay.request(&request).await
    }

    fn load(&self, calls: usize, options: CallOptions) -> JoinHandle<()> {
        let call_log = Arc::clone(&self.call_log);
        tokio::spawn(call_log.load(self.ledger.clone(), calls, IN_FLIGHT, options))
    }

    async fn lossy(mut self, faults: Faults, calls: usize) -> Figures {
        self.request(Request::Faults(faults)).await;
        self.load(calls, MIXED).await.expect("the load");
        self.finish().await
    }

    async fn drain(&mut self) {
        let Drained { finished, panics } = self.server.request(&Drain { within: DRAIN }).await;
        assert!(finished, "something was cut off");
        assert_eq!(panics, 0, "panics of the server");
        self.ended = true;
    }

    async fn finish(mut self) -> Figures {
        self.request(Request::Faults(Faults::default())).await;
        if !self.ended {
            self.drain().await;
        }
        let journal = Journal::open(self.folder.path().join("journal")).expect("a journal");
        let journal = journal.entries().expect("a journal");
        let result = self.call_log.verify(&journal);
        result.unwrap_or_else(|wrong| panic!("{wrong}"))
    }
}
