//! One run, in its own process: starts a server, keeps it busy, and prints the latency and the cost of a call.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::load::{Load, Outcome};
use crate::session::{END_TIMEOUT, Session};

/// One run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) load: Load,
    /// The duration of the measurement, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// The duration of the calls before the measurement, in seconds.
    #[arg(long, default_value_t = 0.15)]
    pub(crate) warm_up: f64,
}

pub(crate) fn main(plan: &Plan) -> Result<Outcome> {
    let seconds = Duration::from_secs_f64;
    exit_after(seconds(plan.warm_up + plan.seconds) + 2 * END_TIMEOUT);
    let mut session = Session::start(&plan.load)?;
    session.go_on(seconds(plan.warm_up))?;
    let outcome = session.window(seconds(plan.seconds))?;
    session.end()?;
    Ok(outcome)
}

/// Ends the process with an error after `limit`, so that a run that hangs ends, too.
pub(crate) fn exit_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("timed out");
        std::process::exit(1);
    });
}
