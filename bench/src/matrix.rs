//! Runs every contender in every cell, in turn.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::load::{Outcome, RuntimeKind};
use crate::work::Workload;

/// A cell of the matrix: a workload, and the numbers of connections and of calls in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) workload: Workload,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

impl Cell {
    pub(crate) const fn new(workload: Workload, connections: usize, in_flight: usize) -> Self {
        Self {
            workload,
            connections,
            in_flight,
        }
    }

    /// Returns every cell but those that make no sense: one call on eight connections, and 512 calls of 64 KB or more, for
    /// which no contender has windows or queues.
    pub(crate) fn all() -> Vec<Self> {
        use Workload::{Add, Batch, Items, Record, Text};
        let depths = |workload| match workload {
            Add | Record => &[1, 8, 64, 512][..],
            Batch | Text => &[1, 8, 64],
            Items => &[1, 8],
        };
        let mut cells = Vec::new();
        for workload in [Add, Record, Batch, Text, Items] {
            for connections in [1, 8] {
                let depths = depths(workload)
                    .iter()
                    .filter(|depth| **depth >= connections);
                cells.extend(depths.map(|in_flight| Self::new(workload, connections, *in_flight)));
            }
        }
        cells
    }

    /// Returns the cells that have targets.
    pub(crate) fn aims() -> Vec<Self> {
        vec![
            Self::new(Workload::Add, 1, 1),
            Self::new(Workload::Add, 1, 64),
            Self::new(Workload::Add, 1, 512),
            Self::new(Workload::Record, 1, 64),
            Self::new(Workload::Batch, 1, 8),
            Self::new(Workload::Text, 1, 8),
            Self::new(Workload::Items, 1, 1),
            Self::new(Workload::Items, 1, 8),
        ]
    }
}

/// The extent of the runs.
#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) cells: Vec<Cell>,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

/// One run, or one count of allocations.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) cell: Cell,
    pub(crate) contender: Contender,
    pub(crate) runtime: RuntimeKind,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Runs {
    pub(crate) timed: Vec<Run>,
    pub(crate) counted: Vec<Run>,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

/// The share of the machine above which a run is repeated, if other processes took it during the run.
const NOISY: f64 = 0.10;

/// One run in this number may be repeated, so that the total duration is limited on a busy machine, too.
const REPEATED: usize = 10;

/// The duration of the calls before a measurement, in seconds.
const WARM_UP: f64 = 0.1;

/// The duration of a count of allocations, in seconds.
const COUNTING: f64 = 0.15;

impl Matrix {
    pub(crate) fn run(&self) -> Result<Runs> {
        let began = Instant::now();
        let timing = std::env::current_exe()?;
        let counting = build_counting(&timing)?;
        let mut runs = Runs {
            rounds: self.rounds,
            seconds: self.seconds,
            ..Runs::default()
        };
        let mut repeated = Share::default();
        for round in 0..self.rounds {
            for cell in &self.cells {
                let title = format!("round {} of {}", round + 1, self.rounds);
                progress(began, &title, cell);
                for contender in self.turns(round, cell) {
                    for runtime in RuntimeKind::ALL {
                        repeated.runs += 1;
                        runs.timed.extend(repeat_if_noisy(&mut repeated, || {
                            run(&timing, round, *cell, contender, runtime, self.seconds)
                        }));
                    }
                }
            }
        }
        for cell in &self.cells {
            progress(began, "allocations", cell);
            for contender in self.turns(0, cell) {
                let runtime = RuntimeKind::Current;
                runs.counted.extend(report_failure(run(
                    &counting, 0, *cell, contender, runtime, COUNTING,
                )));
            }
        }
        eprintln!();
        Ok(runs)
    }

    /// Returns the contenders that take part, with a different contender first in each round.
    fn turns(&self, round: usize, cell: &Cell) -> Vec<Contender> {
        let takes_part = |contender: &Contender| contender.offers(cell.workload);
        let mut turns: Vec<_> = self.contenders.iter().copied().filter(takes_part).collect();
        let first = round % turns.len().max(1);
        turns.rotate_left(first);
        turns
    }
}

fn progress(began: Instant, what: &str, cell: &Cell) {
    let seconds = began.elapsed().as_secs();
    eprint!(
        "\r\x1b[K{:02}:{:02} {what}: {} × {} over {}",
        seconds / 60,
        seconds % 60,
        cell.workload.name(),
        cell.in_flight,
        cell.connections
    );
}

/// Runs once, and again if other processes took too much of the machine and there have not been too many repetitions.
/// Returns the run during which other processes took less.
fn repeat_if_noisy(repeated: &mut Share, run: impl Fn() -> Result<Run>) -> Option<Run> {
    let others = |run: &Run| run.outcome.others;
    let first = report_failure(run());
    let is_quiet = first.as_ref().is_some_and(|run| others(run) <= NOISY);
    if is_quiet || !repeated.take() {
        return first;
    }
    let tries = first.into_iter().chain(report_failure(run()));
    tries.min_by(|a, b| others(a).total_cmp(&others(b)))
}

/// The number of runs, and the number of them that were repeated.
#[derive(Default)]
struct Share {
    runs: usize,
    repeated: usize,
}

impl Share {
    fn take(&mut self) -> bool {
        let may = self.repeated * REPEATED < self.runs;
        self.repeated += usize::from(may);
        may
    }
}

/// Prints the error of a failed run, which leaves a gap in the table and does not end the report.
pub(crate) fn report_failure<T>(run: Result<T>) -> Option<T> {
    run.inspect_err(|error| eprintln!("\n{error:#}")).ok()
}

fn run(
    program: &Path,
    round: usize,
    cell: Cell,
    contender: Contender,
    runtime: RuntimeKind,
    seconds: f64,
) -> Result<Run> {
    let output = Command::new(program)
        .args(["drive", contender.name(), cell.workload.name()])
        .args(["--in-flight", &cell.in_flight.to_string()])
        .args(["--connections", &cell.connections.to_string()])
        .args(["--runtime", runtime.name()])
        .args(["--seconds", &seconds.to_string()])
        .args(["--warm-up", &WARM_UP.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "{} failed at {cell:?}, {runtime:?}",
        contender.name()
    );
    Ok(Run {
        round,
        cell,
        contender,
        runtime,
        outcome: serde_json::from_slice(&output.stdout)?,
    })
}

/// Builds the program that counts allocations, since `cargo run` builds only the program that measures time. Returns its
/// path, beside that program.
pub(crate) fn build_counting(timing: &Path) -> Result<PathBuf> {
    let counting = timing.with_file_name("bench-counting");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--bin", "bench-counting"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        ensure!(status.success(), "cannot build bench-counting");
    }
    counting
        .exists()
        .then_some(counting)
        .context("there is no bench-counting; `cargo build --release` makes it")
}
