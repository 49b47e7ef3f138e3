//! Writes `RESULTS.md`: the machine and the versions, the targets, and the table.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::matrix::Runs;
use crate::{chart, table, targets};

/// Writes `RESULTS.md` and `results.svg` beside the manifest.
pub(crate) fn write(runs: &Runs) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(folder.join("RESULTS.md"), text(runs))?;
    fs::write(folder.join("results.svg"), chart::chart(runs))?;
    eprintln!("wrote RESULTS.md and results.svg");
    Ok(())
}

fn text(runs: &Runs) -> String {
    format!(
        "\
# Results

Written by `cargo run --release -- report --rounds {rounds} --seconds {seconds}` in this folder. `--rounds` is the number of
rounds, and `--seconds` is the duration of a run after its warm-up. The figures are medians of the rounds.
[README.md](README.md) says what is measured and how each contender is configured.

![Calls per second](results.svg)

{machine}
## Aims

Each row has the ratio of our figure to the peer's, over one connection. Each contender runs on the runtime that suits it
better. The ratio is the median of the rounds, with the minimum and the maximum.

{targets}
## All results

The rate of the better runtime is in bold. The columns to the right of the rates are figures of this runtime, except the
allocations: these were counted in separate runs, on the current-thread runtime. 🔒 marks contenders with encryption.

{table}",
        rounds = runs.rounds,
        seconds = runs.seconds,
        machine = machine(runs),
        targets = targets::table(runs),
        table = table::table(runs),
    )
}

fn machine(runs: &Runs) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let (usual, worst) = runs.noise().unwrap_or_default();
    format!(
        "\
| | |
|---|---|
| machine | {cpu}, {cores} cores |
| kernel | Linux {kernel} |
| compiler | {rustc} |
| commit | {commit} |
| peers | {peers} |
| taken by other processes | {usual:.1} % of the machine in the median run, {worst:.1} % in the worst |
",
        cpu = field("/proc/cpuinfo", "model name"),
        kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        rustc = env!("BENCH_RUSTC"),
        commit = commit(),
        peers = peers(),
        usual = 100.0 * usual,
        worst = 100.0 * worst,
    )
}

/// Returns the first value of a field in a file of `name : value` lines.
fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(key, _)| key.trim() == name);
    found.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let hash = output.ok().filter(|output| output.status.success());
    hash.map_or("unknown".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

/// Returns the locked versions of the peers.
fn peers() -> String {
    let peers = [
        "jsonrpsee",
        "tarpc",
        "tonic",
        "karyon_jsonrpc",
        "quinn",
        "tokio",
    ];
    let locked = peers.map(|name| format!("{name} {}", locked(name)));
    locked.join(", ")
}

fn locked(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../Cargo.lock");
    let package = LOCK
        .split("[[package]]")
        .find(|package| package.contains(&format!("name = \"{name}\"\n")));
    let version = package.and_then(|package| package.split("version = \"").nth(1));
    version
        .and_then(|version| version.split('"').next())
        .unwrap_or("?")
}
