//! The effect of a hostile client on an honest one, with the server and both clients in separate processes.
//! `RELIABILITY.md` has the results.

mod attack;
mod neighbour;

use std::net::SocketAddr;
use std::time::Duration;

use rpc_runtime::{Identity, Server, rpc};
use serde::{Deserialize, Serialize};
use tests::holdings::Holdings;
use tests::process::{Process, answer, orders};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::attack::{Attack, Deeds, Order};
use crate::neighbour::Waits;

/// The number of rounds without and with the hostile client, in turn.
const ROUNDS: usize = 5;

const ROUND: Duration = Duration::from_millis(1500);

#[rpc]
trait Town {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn blob(&self, size: usize) -> String;
    async fn hang(&self);
    async fn panic(&self);
}

struct Walls;

const ON_PURPOSE: &str = "on purpose";

impl Town for Walls {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn hang(&self) {
        std::future::pending().await
    }

    async fn panic(&self) {
        std::panic::panic_any(ON_PURPOSE)
    }
}

/// The address of a server, and its certificate as PEM.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    address: SocketAddr,
    certificate: String,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let place = |text| serde_json::from_str(text).expect("a place");
    match arguments[..] {
        ["serve"] => run(Builder::new_multi_thread(), serve()),
        ["attack", text] => run(Builder::new_current_thread(), attack::obey(place(text))),
        ["neighbour", text] => run(Builder::new_current_thread(), neighbour::obey(place(text))),
        [] => run(Builder::new_current_thread(), beside(&Attack::ALL)),
        [name] => {
            let attack = serde_json::from_value(name.into()).expect("the name of an attack");
            run(Builder::new_current_thread(), beside(&[attack]));
        }
        _ => panic!("one argument at most: the name of an attack"),
    }
}

fn run(mut runtime: Builder, program: impl Future<Output = ()>) {
    let runtime = runtime.enable_all().build();
    runtime.expect("a runtime").block_on(program);
}

/// Serves with the default limits, and reports its resources on each order.
async fn serve() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref() != Some(&ON_PURPOSE) {
            usual(panic);
        }
    }));
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).expect("an identity");
    let certificate = identity.certificate().to_pem();
    let server = Server::builder(identity).service(TownServer::new(Walls));
    let server = server.bind("127.0.0.1:0").expect("a server");
    let address = server.local_addr().expect("its address");
    answer(&Place {
        address,
        certificate,
    });
    tokio::spawn(server.run());
    let mut orders = orders::<()>();
    while orders.recv().await.is_some() {
        answer(&Holdings::now());
    }
}

async fn beside(attacks: &[Attack]) {
    println!(
        "| hostile peer | in a second | closed | p50 µs without | with | p99 µs without | with | ratio | MiB before | \
         after one round | after all |"
    );
    println!("|---|{}", "---:|".repeat(10));
    for attack in attacks {
        measure(*attack).await;
    }
}

/// Measures and prints a row of the table.
async fn measure(attack: Attack) {
    let (mut server, place) = Process::start::<Place>(&["serve"]).await;
    let place = serde_json::to_string(&place).expect("JSON");
    let (mut hostile, ()) = Process::start_idle(&["attack", &place]).await;
    let (mut neighbour, ()) = Process::start(&["neighbour", &place]).await;
    let _: Waits = neighbour.obey(&ROUND).await;
    let before: Holdings = server.obey(&()).await;
    let mut memory = vec![before.memory];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut deeds = Deeds::default();
    for _ in 0..ROUNDS {
        without.push(neighbour.obey::<Waits>(&ROUND).await);
        let () = hostile.obey(&Order::Begin(attack)).await;
        with.push(neighbour.obey::<Waits>(&ROUND).await);
        deeds += hostile.obey(&Order::End).await;
        memory.push(rest(&mut server, before).await.memory);
    }
    let [p50, p99] = [50.0, 99.0].map(|percent| {
        [&without, &with].map(|rounds| median(rounds.iter().map(|waits| waits.percentile(percent))))
    });
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "| {attack} | {deeds} | {} | {} | {} | {} | {:.2} | {:.1} | {:.1} | {:.1} |",
        p50[0].as_micros(),
        p50[1].as_micros(),
        p99[0].as_micros(),
        p99[1].as_micros(),
        p99[1].as_secs_f64() / p99[0].as_secs_f64(),
        mebibytes(memory[0]),
        mebibytes(memory[1]),
        mebibytes(memory[ROUNDS]),
    );
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Returns the resources of the server once it has released those of the hostile client.
async fn rest(server: &mut Process, before: Holdings) -> Holdings {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let now: Holdings = server.obey(&()).await;
        if now.tasks <= before.tasks {
            return now;
        }
        assert!(Instant::now() < end, "before {before:?}, now {now:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
