//! The long run of the fault tests, with a server, a relay and a client in separate processes. `RELIABILITY.md` has its
//! results. Arguments are the number of calls of each scenario, and a part of the names of the scenarios to run.

mod scenarios;
mod streams;

use std::path::Path;
use std::time::Duration;

use rpc_runtime::{Identity, Server};
use serde::{Deserialize, Serialize};
use tests::ledger::{Journal, LedgerServer, LedgerService};
use tests::panics;
use tests::process::{answer, requests};
use tests::relay::{Faults, Relay};
use tests::seed::seed;

const CALLS: usize = 10_000;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", folder, address] => serve(Path::new(folder), address).await,
        ["relay", server, seed] => relay(server, seed).await,
        ["large"] => scenarios::large(seed()).await,
        ["streams"] => streams::compare(CALLS, seed()).await,
        [] => all(CALLS).await,
        [calls] => all(number(calls)).await,
        [calls, wanted] => scenarios::play(number(calls), seed(), wanted).await,
        _ => panic!(
            "two arguments at most: calls of each scenario, and a part of the names of those to play"
        ),
    }
}

fn number(calls: &str) -> usize {
    calls.parse().expect("a number of calls")
}

async fn all(calls: usize) {
    let seed = seed();
    scenarios::play(calls, seed, "").await;
    println!();
    scenarios::large(seed).await;
    println!();
    streams::compare(calls, seed).await;
}

/// A request to a relay, which responds with its counts.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Faults(Faults),
    Blackhole(bool),
    Rebind,
    HasDelivered(u64),
}

/// The request to a server to drain.
#[derive(Debug, Serialize, Deserialize)]
struct Drain {
    within: Duration,
}

/// The response of a server that has drained.
#[derive(Debug, Serialize, Deserialize)]
struct Drained {
    finished: bool,
    panics: usize,
}

/// Serves until it is ordered to drain, or killed.
async fn serve(folder: &Path, address: &str) {
    panics::so_far();
    let identity = Identity::from_pem_files(folder.join("chain.pem"), folder.join("key.pem"));
    let journal = Journal::open(folder.join("journal")).expect("a journal");
    let server = Server::builder(identity.expect("an identity"))
        .service(LedgerServer::new(LedgerService(journal.into())))
        .bind(address)
        .expect("a server");
    let handle = server.handle();
    answer(&server.local_addr().expect("its address"));
    tokio::spawn(server.run());
    let mut requests = requests();
    while let Some(Drain { within }) = requests.recv().await {
        answer(&Drained {
            finished: handle.shutdown(within).await,
            panics: panics::so_far(),
        });
    }
}

/// Relays until the standard input ends.
async fn relay(server: &str, seed: &str) {
    let server = server.parse().expect("an address");
    let relay = Relay::start(server, seed.parse().expect("a number")).expect("a relay");
    answer(&relay.address());
    let mut requests = requests();
    while let Some(request) = requests.recv().await {
        match request {
            Request::Faults(faults) => relay.set_faults(faults),
            Request::Blackhole(blackhole) => relay.set_blackhole(blackhole),
            Request::Rebind => relay.rebind().expect("a socket"),
            Request::HasDelivered(bytes) => relay.has_delivered(bytes).await,
        }
        answer(&relay.counts());
    }
}
