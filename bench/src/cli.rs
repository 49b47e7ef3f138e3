//! The command line.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::contender::{Contender, Setting};
use crate::drive::{self, Plan};
use crate::load::RuntimeKind;
use crate::matrix::{Cell, Matrix, Runs};
use crate::process::say;
use crate::work::Workload;
use crate::{
    binary, codec, compile_time, encode, growth, http, instructions, report, serve, settings,
    shapes, table, targets,
};

#[derive(Debug, Parser)]
#[command(about = "Compares RPC frameworks side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures everything and prints the table.
    Table(Extent),
    /// Measures everything and writes `RESULTS.md` and `results.svg`.
    Report(Extent),
    /// Writes both files again, with the figures of the last report.
    #[command(hide = true)]
    Again,
    /// Measures the cells that have targets once, in about a minute, and prints their table.
    Quick {
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
    /// Compares the nanoseconds that serializers take to write one value.
    Encode,
    /// Compares calls that carry binary data as Base64 with calls that carry as much text.
    Binary,
    /// Measures decoding, dispatch and encoding within one process, and prints the table.
    Codec(codec::Extent),
    /// Answers one message many times, for a profiler.
    CodecRepeat(codec::Repetition),
    /// Counts the instructions of a call over memory and of the codec alone, with valgrind, and prints the tables.
    Instructions,
    /// Counts the instructions that a server takes for messages of every shape, with valgrind, and prints the table.
    Shapes,
    /// Sends messages of every shape once, for a counter or a profiler.
    ShapesOnce {
        /// Sends only messages of this shape.
        #[arg(long)]
        only: Option<String>,
    },
    /// Makes calls over memory, for a counter or a profiler.
    MemoryRepeat(instructions::Repetition),
    /// Measures how long services take to compile, in some minutes, and prints the table.
    CompileTime,
    /// Measures whether cost grows with the work and with nothing else, in less than two minutes.
    Growth {
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Measures the effect of each of the transport's settings, in about five minutes.
    Settings {
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// The duration of each run in seconds, without its warm-up.
        #[arg(long, default_value_t = 0.3)]
        seconds: f64,
        /// Compares only the settings whose names in the table contain this text.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Compares servers over HTTP and WebSocket with those of jsonrpsee, with the same clients, in less than four minutes.
    Http(http::Extent),
    /// Counts the instructions that servers over HTTP and WebSocket take for a call, with valgrind, and prints the table.
    HttpInstructions(http::Counting),
    /// Serves until the standard input ends.
    #[command(hide = true)]
    Serve {
        contender: Contender,
        #[arg(long, default_value = "current")]
        runtime: RuntimeKind,
        #[arg(long)]
        setting: Option<Setting>,
    },
    /// Starts a server, keeps it busy, and prints one line of JSON.
    #[command(hide = true)]
    Drive(Plan),
}

/// The extent of the measurements.
#[derive(Debug, Args)]
struct Extent {
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// The duration of each run in seconds, without its warm-up.
    #[arg(long, default_value_t = 0.35)]
    seconds: f64,
    /// Measures only these contenders.
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Measures only these workloads.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
}

impl Extent {
    fn matrix(&self) -> Matrix {
        let mut matrix = Matrix {
            cells: Cell::all(),
            contenders: Contender::of_table(),
            rounds: self.rounds,
            seconds: self.seconds,
        };
        if !self.contenders.is_empty() {
            matrix.contenders.clone_from(&self.contenders);
        }
        if !self.workloads.is_empty() {
            matrix
                .cells
                .retain(|cell| self.workloads.contains(&cell.workload));
        }
        matrix
    }
}

fn quick(rounds: usize) -> Matrix {
    Matrix {
        cells: Cell::aims(),
        contenders: Contender::of_table(),
        rounds,
        seconds: 0.2,
    }
}

pub(crate) fn main() -> Result<()> {
    // Two crypto providers are linked. All contenders that encrypt use the provider that this framework uses.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().command {
        Command::Table(extent) => print(&extent.matrix().run()?),
        Command::Quick { rounds } => print(&quick(rounds).run()?),
        Command::Report(extent) => report(&extent.matrix().run()?),
        Command::Again => report::write(&serde_json::from_slice(&fs::read(last_report()?)?)?),
        Command::Encode => encode::main(),
        Command::Binary => binary::main(),
        Command::Codec(extent) => codec::main(&extent),
        Command::CodecRepeat(repetition) => codec::repeat(&repetition),
        Command::Instructions => instructions::main(),
        Command::Shapes => shapes::main(),
        Command::ShapesOnce { only } => shapes::once(only.as_deref()),
        Command::MemoryRepeat(repetition) => instructions::repeat(&repetition),
        Command::CompileTime => compile_time::main(),
        Command::Growth { rounds } => growth::main(rounds),
        Command::Settings {
            rounds,
            seconds,
            only,
        } => settings::main(rounds, seconds, &only),
        Command::Http(extent) => http::main(&extent),
        Command::HttpInstructions(counting) => http::count(&counting),
        Command::Serve {
            contender,
            runtime,
            setting,
        } => serve::main(contender, runtime, setting),
        Command::Drive(plan) => say(&drive::main(&plan)?),
    }
}

fn print(runs: &Runs) -> Result<()> {
    print!("{}\n{}", targets::table(runs), table::table(runs));
    Ok(())
}

fn report(runs: &Runs) -> Result<()> {
    fs::write(last_report()?, serde_json::to_vec(runs)?)?;
    report::write(runs)
}

/// Returns the path at which a report stores its figures, beside the program.
fn last_report() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("bench-report.json"))
}
