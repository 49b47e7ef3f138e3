//! Programs in JavaScript and Python that call the server with libraries of npm and PyPI.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::packages::{npm, python, required, run};

use crate::doors::{Doors, TEMPORARY};

/// The folder of the programs, with the lists of their packages.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/http-clients");

/// The maximum time of a program.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns what `find` returns, in a thread that may block.
async fn blocking<T: Send + 'static>(find: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(find).await.unwrap()
}

/// Runs a program in JavaScript against a server.
async fn run_node(program: &'static str) {
    let installed = blocking(|| {
        npm(
            CLIENTS.as_ref(),
            &Path::new(TEMPORARY).join("http-clients-node"),
        )
    });
    let Some(home) = required(installed.await, "NODE") else {
        return;
    };
    // Modules are found relative to the program.
    let program = format!("{program}.mjs");
    let copy = home.join(&program);
    fs::copy(Path::new(CLIENTS).join(&program), &copy).unwrap();
    let mut node = Command::new("node");
    // Node has WebSocket behind this flag in version 20, and ignores it later.
    let flag = "--experimental-websocket";
    if run(Command::new("node").args([flag, "--version"]), LIMIT).is_ok() {
        node.arg(flag);
    }
    node.arg(copy);
    run_against(node, &program).await;
}

async fn run_against(mut command: Command, test: &str) {
    let doors = Doors::open(test).await;
    command
        .args(doors.urls())
        .arg(&doors.certificate)
        .env("NODE_EXTRA_CA_CERTS", &doors.certificate);
    blocking(move || run(&mut command, LIMIT))
        .await
        .unwrap_or_else(|output| panic!("{output}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jayson_calls_over_http_and_websocket() {
    run_node("jayson").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viem_calls_and_subscribes() {
    run_node("viem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_rpc_client_calls_over_http_and_websocket() {
    run_node("open_rpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_calls_with_fetch_and_websocket() {
    run_node("node").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_calls_with_httpx_and_websockets() {
    let installed = blocking(|| {
        python(
            CLIENTS.as_ref(),
            &Path::new(TEMPORARY).join("http-clients-python"),
        )
    });
    let Some(python) = required(installed.await, "PYTHON") else {
        return;
    };
    let mut command = Command::new(python);
    command.arg("-B").arg(Path::new(CLIENTS).join("python.py"));
    run_against(command, "python").await;
}
