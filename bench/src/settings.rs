//! Measures the effect of the transport's settings: raw quinn, or this framework, with one setting changed, and without, in
//! turn.

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

/// A contender, and the setting that is changed; `None` for no change, which shows the spread of equal runs.
type Changed = (Contender, Option<Setting>);

/// The effect of a setting in one round, as ratios to the run without a change.
#[derive(Debug, Clone, Copy)]
struct Gain {
    work: usize,
    changed: Changed,
    rate: f64,
    cpu: f64,
}

impl Gain {
    fn of(work: usize, changed: Changed, outcome: &Outcome, base: &Outcome) -> Self {
        Self {
            work,
            changed,
            rate: outcome.calls_per_second / base.calls_per_second,
            cpu: outcome.cpu() / base.cpu(),
        }
    }
}

/// Compares the settings whose names contain `only`.
pub(crate) fn main(rounds: usize, seconds: f64, only: &str) -> Result<()> {
    let window = Duration::from_secs_f64(seconds);
    let settings = chosen(only);
    let runs = rounds * WORK.len() * 2 * settings.len();
    exit_after((WARM_UP + window) * 3 * runs as u32);

    let mut gains = Vec::new();
    for round in 0..rounds {
        for (work, (workload, in_flight)) in WORK.into_iter().enumerate() {
            eprint!(
                "\r\x1b[Kround {} of {rounds}: {} × {in_flight}",
                round + 1,
                workload.name()
            );
            let run = |changed| report_failure(run(workload, in_flight, changed, window));
            let of_one = settings.chunk_by(|one, other| one.0 == other.0);
            for settings in of_one.flat_map(|settings| settings.chunks(COMPARED)) {
                let Some(base) = run((settings[0].0, None)) else {
                    continue;
                };
                gains.extend(
                    settings.iter().filter_map(|changed| {
                        Some(Gain::of(work, *changed, &run(*changed)?, &base))
                    }),
                );
            }
        }
    }
    eprintln!();
    print!("{}", table(&settings, &gains));
    Ok(())
}

/// Returns the settings whose names contain `only`, and for each contender no change.
fn chosen(only: &str) -> Vec<Changed> {
    let settings = Setting::all();
    let mut chosen = Vec::new();
    for contender in [Contender::RawQuinn, Contender::Ours] {
        let of_one = settings
            .iter()
            .filter(|setting| setting.contender() == contender && setting.label().contains(only));
        let mut of_one = of_one.map(|setting| (contender, Some(*setting))).peekable();
        if of_one.peek().is_some() {
            chosen.push((contender, None));
            chosen.extend(of_one);
        }
    }
    chosen
}

fn label((contender, setting): Changed) -> String {
    match (setting, contender) {
        (Some(setting), _) => setting.label(),
        (None, Contender::Ours) => "this framework, nothing".to_owned(),
        (None, _) => "nothing".to_owned(),
    }
}

fn run(
    workload: Workload,
    in_flight: usize,
    (contender, setting): Changed,
    window: Duration,
) -> Result<Outcome> {
    let mut session = Session::start(&Load {
        contender,
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

fn table(settings: &[Changed], gains: &[Gain]) -> String {
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
        table += &label(*setting);
        table += " |";
        for work in 0..WORK.len() {
            let rounds = || {
                let of_cell = |gain: &&Gain| gain.work == work && gain.changed == *setting;
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
    use super::{Contender, Gain, Outcome, Setting, chosen, table};

    #[test]
    fn settings_of_one_name_are_chosen_with_no_change_of_their_contender() {
        let chosen = chosen("max_mtu");
        assert_eq!(chosen[0], (Contender::Ours, None));
        assert!(chosen.len() > 1 && chosen.iter().all(|changed| changed.0 == Contender::Ours));
    }

    #[test]
    fn a_setting_is_compared_with_what_it_changes() {
        let outcome = |calls_per_second, server_cpu| Outcome {
            calls_per_second,
            client_cpu: 1.0,
            server_cpu,
            ..Outcome::default()
        };
        let setting = (Contender::RawQuinn, Some(Setting::SendFairness));
        let (base, changed) = (outcome(200.0, 3.0), outcome(300.0, 1.0));
        let gain = Gain::of(1, setting, &changed, &base);
        let table = table(&[setting], &[gain]);
        let row =
            "| `send_fairness` on | – | – | 1.50× (1.50–1.50) | 0.50× (0.50–0.50) | – | – |\n";
        assert!(table.ends_with(row), "{table}");
    }
}
