//! Measures the effect of quinn's settings: raw quinn with one setting changed, and without, in turn.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;

use crate::contender::{Contender, Setting};
use crate::drive::exit_after;
use crate::figures::Ratio;
use crate::load::{Load, Outcome, RuntimeKind};
use crate::matrix::report_failure;
use crate::session::Session;
use crate::work::Workload;

/// The workloads, and the number of calls in flight of each.
const WORK: [(Workload, usize); 3] = [
    (Workload::Add, 64),
    (Workload::Record, 64),
    (Workload::Text, 8),
];

/// The number of settings that are compared with one run without a change.
const COMPARED: usize = 4;

const WARM_UP: Duration = Duration::from_millis(100);

/// The effect of a setting in one round, as ratios to the run without a change.
#[derive(Debug, Clone, Copy)]
struct Gain {
    work: usize,
    setting: Option<Setting>,
    rate: f64,
    cpu: f64,
}

impl Gain {
    fn of(work: usize, setting: Option<Setting>, outcome: &Outcome, base: &Outcome) -> Self {
        Self {
            work,
            setting,
            rate: outcome.calls_per_second / base.calls_per_second,
            cpu: outcome.cpu() / base.cpu(),
        }
    }
}

pub(crate) fn main(rounds: usize, seconds: f64) -> Result<()> {
    let window = Duration::from_secs_f64(seconds);
    // The first is no change, which shows the spread of equal runs.
    let mut settings = vec![None];
    settings.extend(Setting::all().into_iter().map(Some));
    let runs = rounds * WORK.len() * (settings.len() + settings.len().div_ceil(COMPARED));
    exit_after((WARM_UP + window) * 3 * runs as u32);

    let mut gains = Vec::new();
    for round in 0..rounds {
        for (work, (workload, in_flight)) in WORK.into_iter().enumerate() {
            eprint!(
                "\r\x1b[Kround {} of {rounds}: {} × {in_flight}",
                round + 1,
                workload.name()
            );
            let run = |setting| report_failure(run(workload, in_flight, setting, window));
            for settings in settings.chunks(COMPARED) {
                let Some(base) = run(None) else { continue };
                gains.extend(
                    settings.iter().filter_map(|setting| {
                        Some(Gain::of(work, *setting, &run(*setting)?, &base))
                    }),
                );
            }
        }
    }
    eprintln!();
    print!("{}", table(&settings, &gains));
    Ok(())
}

fn run(
    workload: Workload,
    in_flight: usize,
    setting: Option<Setting>,
    window: Duration,
) -> Result<Outcome> {
    let mut session = Session::start(&Load {
        contender: Contender::RawQuinn,
        workload,
        in_flight,
        connections: 1,
        runtime: RuntimeKind::Current,
        setting,
    })?;
    session.go_on(WARM_UP)?;
    let outcome = session.window(window)?;
    session.end()?;
    Ok(outcome)
}

fn table(settings: &[Option<Setting>], gains: &[Gain]) -> String {
    let mut table = "| changed |".to_owned();
    for (workload, in_flight) in WORK {
        // Writing into memory does not fail.
        let _ = write!(
            table,
            " `{}` × {in_flight}: calls/s (min–max) | CPU/call |",
            workload.name()
        );
    }
    table += "\n|---|";
    table += &"---|---|".repeat(WORK.len());
    for setting in settings {
        table += "\n| ";
        table += &setting.map_or("nothing".to_owned(), Setting::label);
        table += " |";
        for work in 0..WORK.len() {
            let rounds = || {
                let of_cell = |gain: &&Gain| gain.work == work && gain.setting == *setting;
                gains.iter().filter(of_cell)
            };
            let ratio = |ratio: Option<Ratio>| ratio.map_or("–".to_owned(), |it| it.to_string());
            let rate = ratio(Ratio::of_rounds(rounds().map(|gain| gain.rate)));
            let cpu = ratio(Ratio::of_rounds(rounds().map(|gain| gain.cpu)));
            let _ = write!(table, " {rate} | {cpu} |");
        }
    }
    table + "\n"
}

#[cfg(test)]
mod tests {
    use super::{Gain, Outcome, Setting, table};

    #[test]
    fn a_setting_is_compared_with_what_it_changes() {
        let outcome = |calls_per_second, server_cpu| Outcome {
            calls_per_second,
            client_cpu: 1.0,
            server_cpu,
            ..Outcome::default()
        };
        let setting = Some(Setting::SendFairness);
        let (base, changed) = (outcome(200.0, 3.0), outcome(300.0, 1.0));
        let gain = Gain::of(1, setting, &changed, &base);
        let table = table(&[setting], &[gain]);
        let row =
            "| `send_fairness` on | – | – | 1.50× (1.50–1.50) | 0.50× (0.50–0.50) | – | – |\n";
        assert!(table.ends_with(row), "{table}");
    }
}
