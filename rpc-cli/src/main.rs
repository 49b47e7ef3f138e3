//! `rpc`: describes, calls, measures and compares services from the shell.
//!
//! Each command has a module. Common modules connect to a server ([`connect`], and [`carrier`] for HTTP and WebSocket), read its description ([`document`],
//! [`types`]), parse arguments ([`params`]), and show results and failures ([`output`], [`failure`]).

mod advice;
mod bench;
mod call;
mod carrier;
mod check;
mod connect;
mod demo;
mod describe;
mod document;
mod escape;
mod failure;
mod health;
mod input;
mod interrupt;
mod json;
mod metadata;
mod output;
mod page;
mod params;
mod ping;
mod reply;
mod sample;
mod schema;
mod shell;
mod size;
mod source;
mod stream;
mod target;
mod types;
#[cfg(test)]
mod untrusted;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::{Failure, HELP, Status, Stop};
use crate::output::{Color, Output};

/// Describes, calls, measures and compares JSON-RPC services over QUIC, HTTP and WebSocket
#[derive(Debug, Parser)]
#[command(name = "rpc", version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Controls when the output has colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN"
    )]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Call(call::Options),
    Describe(describe::Options),
    Stream(stream::Options),
    Ping(ping::Options),
    Health(health::Options),
    Bench(bench::Options),
    Check(check::Options),
    ServeDemo(demo::Options),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Command {
    fn is_parallel(&self) -> bool {
        match self {
            Self::Bench(options) => options.is_parallel(),
            Self::ServeDemo(_) => true,
            _ => false,
        }
    }

    /// Returns `true` if the command handles ctrl-c itself.
    fn handles_interrupts(&self) -> bool {
        matches!(self, Self::ServeDemo(_))
    }

    async fn run(self, output: &mut Output) -> Result<(), Stop> {
        match self {
            Self::Call(options) => options.run(output).await,
            Self::Describe(options) => options.run(output).await,
            Self::Stream(options) => options.run(output).await,
            Self::Ping(options) => options.run(output).await,
            Self::Health(options) => options.run(output).await,
            Self::Bench(options) => options.run(output).await,
            Self::Check(options) => options.run(output).await,
            Self::ServeDemo(options) => options.run(output).await,
            Self::Completions(options) => options.run(output, Cli::command()),
            Self::Man(options) => options.run(output, Cli::command()),
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    cli.color.apply();
    let mut output = Output::new();
    let ended = run(cli.command, &mut output).and_then(|()| Ok(output.flush()?));
    let failure = match ended {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Interrupted) => return ExitCode::from(interrupt::STATUS),
        Err(Stop::Failed(failure)) => failure,
        Err(Stop::Output(error)) => match Failure::output(&error) {
            Some(failure) => failure,
            None => return ExitCode::SUCCESS,
        },
    };
    let _ = output.flush();
    let _ = write!(anstream::stderr(), "{failure}");
    ExitCode::from(failure.status() as u8)
}

/// Prints what clap says: an invalid command line, the help or the version.
fn tell(told: &clap::Error) -> ExitCode {
    let printed = told.print().and_then(|()| std::io::stdout().flush());
    let failure = printed
        .err()
        .filter(|_| !told.use_stderr())
        .and_then(|error| Failure::output(&error));
    match failure {
        None => ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(Status::Usage as u8)),
        Some(failure) => {
            let _ = write!(anstream::stderr(), "{failure}");
            ExitCode::from(failure.status() as u8)
        }
    }
}

fn run(command: Command, output: &mut Output) -> Result<(), Stop> {
    use tokio::runtime::Builder;
    if !command.handles_interrupts() {
        interrupt::exit_when_interrupted()?;
    }
    let mut builder = match command.is_parallel() {
        true => Builder::new_multi_thread(),
        // One connection is faster on a single thread.
        false => Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let ended = runtime.block_on(command.run(output));
    // A thread may still be blocked on standard input.
    runtime.shutdown_background();
    ended
}
