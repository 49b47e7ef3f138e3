//! Messages between processes: the address of a server, and the resources that a process has used so far.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The address of a server, and the certificate to trust, as PEM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Option<String>,
}

/// The CPU time, user and system, and the allocations of a process since it began.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) allocations: u64,
}

/// The function with which this program counts its allocations.
pub(crate) static ALLOCATIONS: OnceLock<fn() -> u64> = OnceLock::new();

impl Used {
    pub(crate) fn so_far() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
            allocations: allocations(),
        }
    }
}

/// Returns the number of allocations of this process, or 0 if its program does not count them.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get().map_or(0, |count| count())
}

/// Returns the CPU time of the entire machine since it started, all cores together. The kernel counts it in ticks of 10 ms.
pub(crate) fn machine_busy() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let total = stat.lines().next().context("an empty /proc/stat")?;
    let ticks: Vec<u64> = total
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // user nice system (idle iowait) irq softirq steal; the time of guests is part of user.
    let busy: u64 = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(field, _)| !matches!(field, 3 | 4))
        .map(|(_, ticks)| ticks)
        .sum();
    Ok(Duration::from_millis(10 * busy))
}

/// Reports the server's address and certificate to the process that started this process.
pub(crate) fn announce(address: SocketAddr, certificate: Option<String>) -> anyhow::Result<()> {
    say(&Hello {
        address,
        certificate,
    })
}

pub(crate) fn say(message: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl io::BufRead) -> anyhow::Result<T> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("not what was expected: {line:?}"))
}

/// Runs `command` to its end.
///
/// # Errors
/// If the command cannot be started or fails.
pub(crate) fn output(mut command: Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{program} is not installed"),
        output => output?,
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {stderr}");
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_that_is_missing_is_named() {
        let failed = output(Command::new("no-such-program")).expect_err("not there");
        assert_eq!(failed.to_string(), "no-such-program is not installed");
    }
}
