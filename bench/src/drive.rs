//! The client's process: starts a server, keeps it busy, and says what a call took and what it cost.

use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::caller::{Latencies, Phase};
use crate::contender::{Contender, Driven};
use crate::process::{Hello, Used, hear, machine_busy};
use crate::work::Workload;

/// Which of tokio's runtimes, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuntimeKind {
    Current,
    Multi,
}

impl RuntimeKind {
    pub(crate) const ALL: [Self; 2] = [Self::Current, Self::Multi];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Multi => "multi",
        }
    }

    pub(crate) fn build(self) -> std::io::Result<tokio::runtime::Runtime> {
        let mut builder = match self {
            Self::Current => tokio::runtime::Builder::new_current_thread(),
            Self::Multi => tokio::runtime::Builder::new_multi_thread(),
        };
        builder.enable_all().build()
    }
}

/// One run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    pub(crate) contender: Contender,
    pub(crate) workload: Workload,
    /// Calls in flight, over all connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    #[arg(long, default_value = "current")]
    pub(crate) runtime: RuntimeKind,
    /// How long to measure.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// How long to call before that.
    #[arg(long, default_value_t = 0.15)]
    pub(crate) warm_up: f64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    /// Latencies in microseconds.
    pub p50: f64,
    pub p99: f64,
    /// CPU time per call in microseconds.
    pub(crate) client_cpu: f64,
    pub(crate) server_cpu: f64,
    /// Allocations and reallocations per call; 0 if they were not counted.
    pub(crate) client_allocations: f64,
    pub(crate) server_allocations: f64,
    /// The part of the machine that others took meanwhile.
    pub(crate) others: f64,
}

/// Longer than this nothing takes that works.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn main(plan: &Plan) -> Result<Outcome> {
    give_up_after(Duration::from_secs_f64(plan.warm_up + plan.seconds) + 2 * PATIENCE);
    let mut server = Server::start(plan)?;
    let phase = Phase::default();
    let (done, result) = mpsc::channel();
    std::thread::spawn({
        let (plan, phase, hello) = (*plan, phase.clone(), server.hello.clone());
        move || done.send(calls(&plan, &hello, &phase))
    });

    std::thread::sleep(Duration::from_secs_f64(plan.warm_up));
    let before = Mark::set(&mut server)?;
    phase.measure();
    match result.recv_timeout(Duration::from_secs_f64(plan.seconds)) {
        Err(mpsc::RecvTimeoutError::Timeout) => {}
        failed => bail!("ended early: {failed:?}"),
    }
    phase.stop();
    let after = Mark::set(&mut server)?;
    let latencies = result
        .recv_timeout(PATIENCE)
        .context("calls that don't end")??;
    ensure!(!latencies.is_empty(), "no call ended in time");
    Ok(outcome(&latencies, &before, &after))
}

/// Whatever hangs, a run ends.
fn give_up_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("gave up");
        std::process::exit(1);
    });
}

fn calls(plan: &Plan, hello: &Hello, phase: &Phase) -> Result<Latencies> {
    let runtime = &Arc::new(plan.runtime.build()?);
    let driven = Driven {
        plan,
        hello,
        phase,
        runtime,
    };
    runtime.block_on(plan.contender.call(&driven))
}

/// Both sides' use at one moment.
struct Mark {
    at: Instant,
    machine: Duration,
    client: Used,
    server: Used,
}

impl Mark {
    fn set(server: &mut Server) -> Result<Self> {
        let server = server.used()?;
        Ok(Self {
            at: Instant::now(),
            machine: machine_busy()?,
            client: Used::so_far(),
            server,
        })
    }
}

fn outcome(latencies: &Latencies, before: &Mark, after: &Mark) -> Outcome {
    let calls = latencies.len();
    let per_call = |amount: f64| amount / calls as f64;
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let elapsed = after.at - before.at;
    let (client, server) = (
        after.client.cpu - before.client.cpu,
        after.server.cpu - before.server.cpu,
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let others = (after.machine - before.machine).saturating_sub(client + server);
    Outcome {
        calls,
        calls_per_second: calls as f64 / elapsed.as_secs_f64(),
        p50: latencies.value_at_quantile(0.50) as f64 / 1e3,
        p99: latencies.value_at_quantile(0.99) as f64 / 1e3,
        client_cpu: per_call(micros(client)),
        server_cpu: per_call(micros(server)),
        client_allocations: per_call((after.client.allocations - before.client.allocations) as f64),
        server_allocations: per_call((after.server.allocations - before.server.allocations) as f64),
        others: others.as_secs_f64() / elapsed.as_secs_f64() / cores as f64,
    }
}

/// The server's process. It ends with this one, because its standard input does.
struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    hello: Hello,
}

impl Server {
    fn start(plan: &Plan) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([
                "serve",
                plan.contender.name(),
                "--runtime",
                plan.runtime.name(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let mut output = BufReader::new(process.stdout.take().context("no standard output")?);
        let hello = hear(&mut output).context("the server did not start")?;
        Ok(Self {
            process,
            input,
            output,
            hello,
        })
    }

    fn used(&mut self) -> Result<Used> {
        self.input.write_all(b"\n")?;
        hear(&mut self.output)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
