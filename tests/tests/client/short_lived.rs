//! Processes that call, and end at once. Each tells the server that its connection has ended.

use std::path::Path;
use std::process::{Command, Stdio};

use rpc_runtime::{Client, Identity, Limits, Server, Trust, rpc};
use tests::support::{ANY_PORT, current_thread, soon};
use tokio::runtime::Builder;

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Counter;

impl Desk for Counter {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

/// The variables that make the test of this name a client: how it ends, the address, and the file of the certificate.
const VARIABLES: [&str; 3] = ["RPC_ENDING", "RPC_ADDRESS", "RPC_CERTIFICATE"];

/// How a client ends, and whether its runtime has several threads.
const ENDINGS: [&str; 3] = [
    // `Client::close`
    "close", // Dropped within the runtime, which is then dropped.
    "drop",  // Dropped after its runtime.
    "outlive",
];

/// The limit of connections of an address: more than a client needs while the end of its predecessor is noticed.
const CONNECTIONS: usize = 8;

#[test]
fn short_lived_process() {
    let variables = VARIABLES.map(|name| std::env::var(name).ok());
    let [Some(ending), Some(address), Some(certificate)] = variables else {
        return;
    };
    let (ending, threads) = ending.split_once('-').unwrap();
    let runtime = match threads {
        "one" => current_thread(),
        _ => Builder::new_multi_thread().enable_all().build().unwrap(),
    };
    let client = runtime.block_on(async {
        let trust = Trust::pem_file(certificate).unwrap();
        let builder = Client::builder().trust(trust).server_name("localhost");
        let client = builder.connect(address.as_str()).await.unwrap();
        let desk = DeskClient::new(client.clone());
        assert_eq!(desk.add(1, 2).await.unwrap(), 3);
        drop(desk);
        match ending {
            "close" => {
                client.close().await;
                // Nothing runs after this, not even the destructor of the runtime.
                std::process::exit(0);
            }
            "drop" => None,
            _ => Some(client),
        }
    });
    drop(runtime);
    drop(client);
    std::process::exit(0);
}

fn client_process(ending: &str, address: &str, certificate: &Path) -> Command {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process
        .args(["--exact", "short_lived::short_lived_process", "--nocapture"])
        .envs([(VARIABLES[0], ending), (VARIABLES[1], address)])
        .env(VARIABLES[2], certificate)
        .stdout(Stdio::null());
    process
}

#[tokio::test]
async fn short_lived_processes_in_a_row_leave_no_connections() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("certificate.pem");
    let identity = Identity::self_signed(["localhost"]).unwrap();
    std::fs::write(&certificate, identity.certificate().to_pem()).unwrap();
    let server = Server::builder(identity)
        .service(DeskServer::new(Counter))
        .limits(Limits {
            max_connections_per_address: CONNECTIONS,
            ..Limits::default()
        })
        .bind(ANY_PORT)
        .unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(server.run());

    for round in 0..12 {
        for ending in ENDINGS {
            for threads in ["one", "many"] {
                let ending = format!("{ending}-{threads}");
                let mut process = client_process(&ending, &address, &certificate);
                let ran = tokio::task::spawn_blocking(move || process.status());
                let status = soon(ran).await.unwrap().unwrap();
                assert!(status.success(), "round {round}, {ending}: {status}");
            }
        }
    }
}
