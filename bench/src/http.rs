//! Compares servers over HTTP and WebSocket, each pair with the same client.

use std::fmt::Write;

use anyhow::Result;
use clap::Args;

use crate::contender::Contender;
use crate::load::{Load, Outcome, RuntimeKind};
use crate::matrix::{Cell, Matrix, Runs};
use crate::session::counted_calls;
use crate::table::{self, thousands};
use crate::work::Workload;

/// The minimum ratio of this framework's calls per second to jsonrpsee's, at `AIM_DEPTH`.
const AIM: f64 = 1.5;
const AIM_DEPTH: usize = 64;

/// The extent of the measurement.
#[derive(Debug, Args)]
pub(crate) struct Extent {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The duration of each run in seconds, without its warm-up.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    in_flight: Vec<usize>,
}

pub(crate) fn main(extent: &Extent) -> Result<()> {
    let contenders = Contender::OVER_HTTP
        .into_iter()
        .flat_map(|(ours, peer)| [ours, peer])
        .collect();
    let cell = |in_flight: &usize| Cell::new(Workload::Add, 1, *in_flight);
    let matrix = Matrix {
        cells: extent.in_flight.iter().map(cell).collect(),
        contenders,
        rounds: extent.rounds,
        seconds: extent.seconds,
    };
    let runs = matrix.run()?;
    print!("{}\n{}", ratios(&runs), table::table(&runs));
    Ok(())
}

fn ratios(runs: &Runs) -> String {
    let mut table = "\
| in flight | ours | against | calls/s (min–max) | wanted | server's CPU (min–max) |
|--:|---|---|---|---|---|
"
    .to_owned();
    for cell in runs.cells() {
        for pair in Contender::OVER_HTTP {
            let ratio = |figure: fn(&Outcome) -> f64| runs.ratio_of(pair, cell, figure);
            let Some(rate) = ratio(|outcome| outcome.calls_per_second) else {
                continue;
            };
            let wanted = match (cell.in_flight, rate.median >= AIM) {
                (AIM_DEPTH, true) => format!("at least {AIM}×: reached"),
                (AIM_DEPTH, false) => format!("at least {AIM}×: **not reached**"),
                _ => String::new(),
            };
            let cpu = ratio(|outcome| outcome.server_cpu).map(|cpu| cpu.to_string());
            let cpu = cpu.unwrap_or_default();
            let (ours, peer) = (pair.0.label(), pair.1.label());
            // Writing into memory does not fail.
            let _ = writeln!(
                table,
                "| {} | {ours} | {peer} | {rate} | {wanted} | {cpu} |",
                cell.in_flight
            );
        }
    }
    table
}

/// The extent of the count.
#[derive(Debug, Args)]
pub(crate) struct Counting {
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    in_flight: Vec<usize>,
    /// The number of calls of one count. The other count makes twice as many.
    #[arg(long, default_value_t = 10_000)]
    calls: u64,
    /// Counts only these contenders.
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<Contender>,
}

/// Counts the instructions that the servers take for a call.
pub(crate) fn count(counting: &Counting) -> Result<()> {
    println!("| in flight | client | ours | jsonrpsee | ratio |\n|--:|---|--:|--:|--:|");
    let is_wanted =
        |of: Contender| counting.contenders.is_empty() || counting.contenders.contains(&of);
    for in_flight in &counting.in_flight {
        for (ours, peer) in Contender::OVER_HTTP {
            if !is_wanted(ours) && !is_wanted(peer) {
                continue;
            }
            let of = |contender| instructions(contender, *in_flight, counting.calls);
            let (here, there) = (of(ours)?, of(peer)?);
            println!(
                "| {in_flight} | {} | {} | {} | {:.2} |",
                ours.label(),
                thousands(here),
                thousands(there),
                there / here
            );
        }
    }
    Ok(())
}

/// Returns the instructions of the server's process per call: the difference of two counts.
fn instructions(contender: Contender, in_flight: usize, calls: u64) -> Result<f64> {
    let load = Load {
        contender,
        workload: Workload::Add,
        in_flight,
        connections: 1,
        runtime: RuntimeKind::Current,
        setting: None,
    };
    let once = counted_calls(&load, calls)?;
    let twice = counted_calls(&load, 2 * calls)?;
    let instructions = twice.instructions as f64 - once.instructions as f64;
    Ok(instructions / (twice.calls - once.calls) as f64)
}
