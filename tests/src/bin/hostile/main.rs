//! The effect of a hostile client on an honest one and on the memory of the server, with the server and both clients in
//! separate processes; and of a hostile server on its clients. `RELIABILITY.md` has the results.

mod attacked_client;
mod attacker;
mod neighbour;
mod serve;
mod server_attack;

use std::fmt;
use std::time::Duration;

use rpc_runtime::Limits;
use serde::de::DeserializeOwned;
use tests::hostile::Attack;
use tests::process::Process;
use tests::resources::Resources;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::attacked_client::{ClientReport, ClientRequest, ClientSetup};
use crate::attacker::{AttackCounts, Request};
use crate::neighbour::Waits;
use crate::serve::{Report, ServerAddress};
use crate::server_attack::ServerAttack;

/// The number of rounds without and with the hostile client, in turn.
const ROUNDS: usize = 3;

const ROUND: Duration = Duration::from_secs(1);

/// The duration of the attack in which memory is measured. The attacker then has the same priority as the server.
const HOLDING: Duration = Duration::from_secs(5);

/// The idle time after an attack, before memory is measured again.
const IDLE_TIME: Duration = Duration::from_secs(5);

/// The time for the server to release the resources of a hostile client. Resources that remain after it are reported.
const RELEASE: Duration = Duration::from_secs(10);

/// The bytes that QUIC holds for a connection in addition to the budget: received bytes that are not read, and sent bytes
/// that are not acknowledged.
const WINDOWS: usize = 16 << 20;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve"] => run(Builder::new_multi_thread(), serve::serve()),
        ["attack", text] => run(Builder::new_current_thread(), attacker::run(parse(text))),
        ["neighbour", text] => run(Builder::new_current_thread(), neighbour::run(parse(text))),
        ["server-attack", text] => run(
            Builder::new_current_thread(),
            server_attack::run(parse(text)),
        ),
        ["client", text] => run(
            Builder::new_multi_thread(),
            attacked_client::run(parse(text)),
        ),
        [] => run(Builder::new_current_thread(), async {
            beside(Attack::ALL).await;
            attack_clients(&ServerAttack::ALL).await;
        }),
        _ => {
            let attacks = named(&arguments);
            let server_attacks = named(&arguments);
            let count = attacks.len() + server_attacks.len();
            assert_eq!(count, arguments.len(), "names of attacks");
            run(Builder::new_current_thread(), async {
                if !attacks.is_empty() {
                    beside(&attacks).await;
                }
                if !server_attacks.is_empty() {
                    attack_clients(&server_attacks).await;
                }
            });
        }
    }
}

/// Returns the attacks of one kind among these names.
fn named<T: DeserializeOwned>(names: &[&str]) -> Vec<T> {
    let parsed = names
        .iter()
        .map(|name| serde_json::from_value((*name).into()));
    parsed.filter_map(Result::ok).collect()
}

fn parse<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("an argument")
}

fn run(mut runtime: Builder, program: impl Future<Output = ()>) {
    let runtime = runtime.enable_all().build();
    runtime.expect("a runtime").block_on(program);
}

async fn beside(attacks: &[Attack]) {
    println!(
        "| hostile peer | in a second | closed | p50 µs without | with | p99 µs without | with | ratio | failed | \
         MiB before | after one round | after all |"
    );
    println!("|---|{}", "---:|".repeat(11));
    let mut held = Vec::new();
    for attack in attacks {
        held.push(measure(*attack).await);
    }
    println!(
        "\n| hostile peer | connections | budget MiB | counted MiB | peak MiB | counted after 5 s | resident after 5 s |"
    );
    println!("|---|{}", "---:|".repeat(6));
    for held in held {
        println!("{held}");
    }
}

/// The server's memory under an attack.
struct Held {
    attack: Attack,
    /// The bytes that the server's budgets count.
    counted: usize,
    peak: usize,
    /// The bytes that they count after some idle seconds.
    counted_after: usize,
    /// The resident memory after these seconds. The allocator keeps part of the freed memory.
    after: usize,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.attack.connections();
        let each = Limits::default().max_memory_bytes_per_connection + WINDOWS;
        let budget = mebibytes(connections * each);
        let [counted, peak] = [self.counted, self.peak].map(mebibytes);
        let [counted_after, after] = [self.counted_after, self.after].map(mebibytes);
        let attack = self.attack;
        write!(
            f,
            "| {attack} | {connections} | {budget:.0} | {counted:.1} | {peak:.1} | {counted_after:.1} | {after:.1} |"
        )
    }
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The processes of one attack.
struct Processes {
    server: Process,
    hostile: Process,
    neighbour: Process,
    before: Resources,
}

impl Processes {
    async fn new() -> Self {
        let (mut server, address) = Process::start::<serve::ServerAddress>(&["serve"]).await;
        let address = serde_json::to_string(&address).expect("JSON");
        let (hostile, ()) = Process::start_idle(&["attack", &address]).await;
        let (mut neighbour, ()) = Process::start(&["neighbour", &address]).await;
        let _: Waits = neighbour.request(&ROUND).await;
        let report: Report = server.request(&()).await;
        Self {
            server,
            hostile,
            neighbour,
            before: report.now,
        }
    }

    /// Returns the resources of the server once it has released those of the hostile client.
    async fn released(&mut self) -> Resources {
        let before = self.before;
        let end = Instant::now() + RELEASE;
        loop {
            let Report { now, .. } = self.server.request(&()).await;
            if now.tasks <= before.tasks {
                return now;
            }
            if Instant::now() > end {
                eprintln!("after {:?}: before {before:?}, now {now:?}", RELEASE);
                return now;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Attacks a new server for longer, and returns its memory.
async fn hold(attack: Attack) -> Held {
    let (mut server, address) = Process::start::<serve::ServerAddress>(&["serve"]).await;
    let address = serde_json::to_string(&address).expect("JSON");
    let (mut hostile, ()) = Process::start(&["attack", &address]).await;
    let () = hostile.request(&Request::Begin(attack)).await;
    sleep(HOLDING).await;
    let under: Report = server.request(&()).await;
    let _: AttackCounts = hostile.request(&Request::End).await;
    sleep(IDLE_TIME).await;
    let after: Report = server.request(&()).await;
    Held {
        attack,
        counted: under.counted.max(after.counted),
        peak: under.peak.max(after.peak),
        counted_after: after.held,
        after: after.now.memory,
    }
}

/// Measures and prints a row of the first table.
async fn measure(attack: Attack) -> Held {
    let mut processes = Processes::new().await;
    let mut memory = vec![processes.before.memory];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut counts = AttackCounts::default();
    for _ in 0..ROUNDS {
        without.push(processes.neighbour.request::<Waits>(&ROUND).await);
        let () = processes.hostile.request(&Request::Begin(attack)).await;
        with.push(processes.neighbour.request::<Waits>(&ROUND).await);
        counts += processes.hostile.request(&Request::End).await;
        memory.push(processes.released().await.memory);
    }
    let [p50, p99] = [50.0, 99.0].map(|percent| {
        [&without, &with].map(|rounds| median(rounds.iter().map(|waits| waits.percentile(percent))))
    });
    println!(
        "| {attack} | {counts} | {} | {} | {} | {} | {:.2} | {} | {:.1} | {:.1} | {:.1} |",
        p50[0].as_micros(),
        p50[1].as_micros(),
        p99[0].as_micros(),
        p99[1].as_micros(),
        p99[1].as_secs_f64() / p99[0].as_secs_f64(),
        with.iter().map(Waits::failed).sum::<usize>(),
        mebibytes(memory[0]),
        mebibytes(memory[1]),
        mebibytes(memory[ROUNDS]),
    );
    drop(processes);
    hold(attack).await
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Prints the effects of a hostile server on its clients.
async fn attack_clients(server_attacks: &[ServerAttack]) {
    println!(
        "\n| hostile server | client serves | budget MiB | counted MiB | peak MiB | after 5 s | other calls | failed |"
    );
    println!("|---|---|{}", "---:|".repeat(6));
    for attack in server_attacks {
        for serves in [false, true] {
            measure_client(*attack, serves).await;
        }
    }
}

/// Attacks a new client, and prints a row.
async fn measure_client(attack: ServerAttack, serves: bool) {
    let (_server, honest) = Process::start::<ServerAddress>(&["serve"]).await;
    let kind = serde_json::to_string(&attack).expect("JSON");
    let (mut hostile, address) = Process::start::<ServerAddress>(&["server-attack", &kind]).await;
    let setup = ClientSetup {
        hostile: address,
        honest,
        serves,
    };
    let setup = serde_json::to_string(&setup).expect("JSON");
    let (mut client, ()) = Process::start(&["client", &setup]).await;
    sleep(HOLDING).await;
    let under: ClientReport = client.request(&ClientRequest::Report).await;
    let () = client.request(&ClientRequest::StopCalls).await;
    let () = hostile.request(&()).await;
    sleep(IDLE_TIME).await;
    let after: ClientReport = client.request(&ClientRequest::Report).await;
    let budget = Limits::default().max_memory_bytes_per_connection + WINDOWS / 2;
    let figures = [
        budget,
        under.report.counted.max(after.report.counted),
        under.report.peak.max(after.report.peak),
        after.report.now.memory,
    ];
    let [budget, counted, peak, after_idle] = figures.map(mebibytes);
    let serves = if serves { "yes" } else { "no" };
    println!(
        "| {attack} | {serves} | {budget:.0} | {counted:.1} | {peak:.1} | {after_idle:.1} | {} | {} |",
        after.answered, after.failed
    );
}
