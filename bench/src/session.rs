//! A server in its own process, and callers that keep it busy while windows of time are measured.

use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::caller::{Latencies, Phase, Record};
use crate::callgrind;
use crate::contender::Driven;
use crate::load::{Load, Outcome};
use crate::process::{Hello, Used, machine_busy, receive};

/// The time after which the end of a session counts as failed. Nothing that works takes longer.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval at which completed calls are counted.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Session {
    server: Server,
    phase: Phase,
    record: Record,
    ended: mpsc::Receiver<Result<()>>,
}

impl Session {
    /// Starts a server, and the callers that make the load.
    pub(crate) fn start(load: &Load) -> Result<Self> {
        let contender = load.contender;
        Self::with(load, async move |driven| contender.call(&driven).await)
    }

    /// Starts a server, and `calls` on its own thread.
    pub(crate) fn with(
        load: &Load,
        calls: impl AsyncFnOnce(Driven) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        Self::on(Server::start(load)?, load, calls)
    }

    fn on(
        server: Server,
        load: &Load,
        calls: impl AsyncFnOnce(Driven) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (phase, record) = (Phase::default(), Record::new()?);
        let (done, ended) = mpsc::channel();
        std::thread::spawn({
            let (load, hello) = (*load, server.hello.clone());
            let (phase, record) = (phase.clone(), record.clone());
            move || {
                let run = || {
                    let runtime = Arc::new(load.runtime.build()?);
                    runtime.block_on(calls(Driven {
                        load,
                        hello,
                        phase,
                        record,
                        runtime: Arc::clone(&runtime),
                    }))
                };
                done.send(run())
            }
        });
        Ok(Self {
            server,
            phase,
            record,
            ended,
        })
    }

    /// Lets the callers run for `time`.
    ///
    /// # Errors
    /// If the callers end earlier.
    pub(crate) fn go_on(&self, time: Duration) -> Result<()> {
        match self.ended.recv_timeout(time) {
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
            failed => bail!("ended early: {failed:?}"),
        }
    }

    /// Lets the callers run until `calls` calls have ended, and discards their latencies.
    pub(crate) fn complete(&self, calls: u64) -> Result<()> {
        self.phase.measure();
        while self.record.len() < calls {
            self.go_on(TICK)?;
        }
        self.phase.stop_measuring();
        self.record.take();
        Ok(())
    }

    /// Measures the latency and the cost of the calls for `time`.
    pub(crate) fn window(&mut self, time: Duration) -> Result<Outcome> {
        let before = Mark::set(&mut self.server)?;
        self.phase.measure();
        self.go_on(time)?;
        let after = Mark::set(&mut self.server)?;
        self.phase.stop_measuring();
        let latencies = self.record.take();
        ensure!(!latencies.is_empty(), "no call ended in time");
        Ok(outcome(&latencies, &before, &after))
    }

    /// Stops the callers, and waits until their last calls have ended.
    pub(crate) fn end(self) -> Result<()> {
        self.phase.stop();
        self.ended
            .recv_timeout(END_TIMEOUT)
            .context("calls that don't end")?
    }
}

/// The resources that both sides have used up to one moment.
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

/// The server's process. It ends with this process, since its standard input ends then.
struct Server {
    process: Child,
    /// Closed to end the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    hello: Hello,
}

impl Server {
    fn start(load: &Load) -> Result<Self> {
        Self::start_with(Command::new(std::env::current_exe()?), load)
    }

    /// Starts the server with a command that runs this program.
    fn start_with(mut command: Command, load: &Load) -> Result<Self> {
        command
            .args(["serve", load.contender.name()])
            .args(["--runtime", load.runtime.name()]);
        if let Some(setting) = &load.setting {
            command.args(["--setting", &setting.to_string()]);
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let mut output = BufReader::new(process.stdout.take().context("no standard output")?);
        let hello = receive(&mut output).context("the server did not start")?;
        Ok(Self {
            process,
            input: Some(input),
            output,
            hello,
        })
    }

    fn used(&mut self) -> Result<Used> {
        let input = self.input.as_mut().context("the server has ended")?;
        input.write_all(b"\n")?;
        receive(&mut self.output)
    }
}

/// The calls that a server has answered, and the instructions that its process has executed.
pub(crate) struct CountedCalls {
    pub(crate) calls: u64,
    pub(crate) instructions: u64,
}

/// Runs a server under callgrind, and at least `calls` calls.
pub(crate) fn counted_calls(load: &Load, calls: u64) -> Result<CountedCalls> {
    let stderr = tempfile::NamedTempFile::new()?;
    let mut command = callgrind::callgrind();
    command
        .arg("--callgrind-out-file=/dev/null")
        .arg(std::env::current_exe()?)
        .stderr(stderr.reopen()?);
    let server = Server::start_with(command, load)?;
    let contender = load.contender;
    let session = Session::on(server, load, async move |driven| {
        driven.phase.measure();
        contender.call(&driven).await
    })?;
    while session.record.len() < calls {
        session.go_on(TICK)?;
    }
    let Session {
        mut server,
        phase,
        record,
        ended,
    } = session;
    phase.stop();
    ended
        .recv_timeout(END_TIMEOUT)
        .context("calls that don't end")??;
    drop(server.input.take());
    server.process.wait()?;
    // The last call of each caller ends after the phase.
    Ok(CountedCalls {
        calls: record.len() + load.in_flight as u64,
        instructions: callgrind::parse_count(&std::fs::read_to_string(stderr.path())?)?,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
