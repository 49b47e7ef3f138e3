//! Tests the interop service with a Python client that uses aioquic.
//!
//! The service runs in this process, not as the built example. So nothing has to be built while tests run: the build
//! directory may then be locked, or the example may be built with other features. Another test starts the example.

#[path = "../../../examples/interop_service.rs"]
mod interop_service;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rpc_runtime::{Client, Identity, Server, Trust};
use tests::packages::{self, Killed, required, run, wait};

use interop_service::{Desk, InteropServer};

/// The folder of the Python client and its tests.
const OUTSIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/outsider");

/// The folder for files of these tests.
const TEMPORARY: &str = env!("CARGO_TARGET_TMPDIR");

/// The time limit of all tests in Python together. Each test also has its own limit.
const ALL_TESTS: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn python_client_is_served() {
    let home = Path::new(TEMPORARY).join("outsider-python");
    let python = tokio::task::spawn_blocking(move || packages::python(OUTSIDER.as_ref(), &home));
    let Some(python) = required(python.await.unwrap(), "PYTHON") else {
        return;
    };
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let certificate = Path::new(TEMPORARY).join(format!("outsider-{}.pem", std::process::id()));
    fs::write(&certificate, identity.certificate().to_pem()).unwrap();
    let server = Server::builder(identity)
        .service(InteropServer::new(Desk::default()))
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.local_addr().unwrap();
    let handle = server.handle();
    tokio::spawn(server.run());

    let mut tests = Command::new(python);
    tests
        .args(["-B", "test_interop.py", &address.to_string()])
        .arg(&certificate)
        .current_dir(OUTSIDER);
    let ran = tokio::task::spawn_blocking(move || run(&mut tests, ALL_TESTS));
    ran.await
        .unwrap()
        .unwrap_or_else(|output| panic!("{output}"));
    let _ = fs::remove_file(certificate);
    assert!(
        handle.shutdown(Duration::from_secs(5)).await,
        "a call of a client that is gone still runs"
    );
}

/// `cargo test --workspace` builds the example before this test. `cargo test -p tests` does not: the example may be missing,
/// or older than its source.
#[tokio::test]
async fn interop_example_serves_until_terminated() {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let example = profile.join("examples/interop");
    if !example.exists() {
        eprintln!("SKIPPED, for the example is not built: cargo test --workspace builds it");
        return;
    }
    let certificate = Path::new(TEMPORARY).join(format!("interop-{}.pem", std::process::id()));
    let mut example = Killed(
        Command::new(example)
            .args(["--listen", "127.0.0.1:0", "--certificate-out"])
            .arg(&certificate)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let line = first_line(&mut example.0, Duration::from_secs(10));
    let address = line.strip_prefix("listening on ").expect(&line);

    let client = Client::builder()
        .trust(Trust::pem_file(&certificate).unwrap())
        .reconnect(false)
        .connect(address)
        .await
        .unwrap();
    let difference: i64 = client.call("subtract", &(42, 23)).await.unwrap();
    assert_eq!(difference, 19);

    let pid = example.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    client.closed().await;
    let status = wait(&mut example.0, Duration::from_secs(10)).expect("it goes on");
    assert!(status.success(), "{status}");
    let _ = fs::remove_file(certificate);
}

fn first_line(child: &mut Child, limit: Duration) -> String {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(limit).expect("a line");
    line.trim_end().to_owned()
}
