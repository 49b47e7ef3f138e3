//! Measures whether cost grows with the work and with nothing else: not with the history of a connection, the number of
//! calls in flight on it, or the other calls that it carries.

use std::time::Duration;

use anyhow::Result;

use crate::caller::Record;
use crate::compare::{Aim, Comparison, table};
use crate::contender::{Contender, Large, call_with_large};
use crate::drive::exit_after;
use crate::figures::{Ratio, median};
use crate::load::{Load, Outcome, RuntimeKind};
use crate::session::Session;
use crate::table::{short, thousands};
use crate::work::Workload;

/// The time after which the process ends. It is longer than all measurements take.
const LIMIT: Duration = Duration::from_secs(600);

const WARM_UP: Duration = Duration::from_millis(100);
const WINDOW: Duration = Duration::from_millis(400);

/// The number of calls that make a history.
const HISTORY: u64 = 1_000_000;

/// The relative difference up to which two figures count as equal.
const EQUAL: f64 = 0.05;

const NO_LESS: Aim = Aim::AtLeast(1.0 - EQUAL);
const NO_MORE: Aim = Aim::AtMost(1.0 + EQUAL);

pub(crate) fn main(rounds: usize) -> Result<()> {
    exit_after(LIMIT);
    println!(
        "### `add`, 64 in flight: a new connection, and after {} calls on it\n\n{}",
        thousands(HISTORY as f64),
        history(rounds)?
    );
    println!(
        "### `add` over one connection: 64 and 1,000 in flight\n\n{}",
        depth(rounds)?
    );
    println!(
        "### `add`, 8 in flight, while replies of 1 MiB come one after the other\n\n{}",
        large(rounds)?
    );
    println!(
        "### `add` over more connections\n\n{}",
        connections(rounds)?
    );
    Ok(())
}

fn load(in_flight: usize, connections: usize, runtime: RuntimeKind) -> Load {
    Load {
        contender: Contender::Ours,
        workload: Workload::Add,
        in_flight,
        connections,
        runtime,
        setting: None,
    }
}

/// Compares one figure of the two outcomes in each pair.
fn compare(
    figure: &'static str,
    pairs: &[(Outcome, Outcome)],
    of: fn(&Outcome) -> f64,
    aim: Aim,
) -> Comparison {
    Comparison {
        figure,
        rounds: pairs
            .iter()
            .map(|(first, second)| (of(first), of(second)))
            .collect(),
        aim: Some(aim),
    }
}

/// Compares the rate and the cost of calls of the two outcomes in each pair.
fn costs(pairs: &[(Outcome, Outcome)]) -> [Comparison; 3] {
    [
        compare("calls/s", pairs, |it| it.calls_per_second, NO_LESS),
        compare("CPU µs/call, client", pairs, |it| it.client_cpu, NO_MORE),
        compare("CPU µs/call, server", pairs, |it| it.server_cpu, NO_MORE),
    ]
}

fn history(rounds: usize) -> Result<String> {
    let round = || {
        let mut session = Session::start(&load(64, 1, RuntimeKind::Current))?;
        session.go_on(WARM_UP)?;
        let young = session.window(WINDOW)?;
        session.complete(HISTORY)?;
        let old = session.window(WINDOW)?;
        session.end()?;
        Ok((young, old))
    };
    let pairs: Result<Vec<_>> = (0..rounds).map(|_| round()).collect();
    Ok(table("new", "after", &costs(&pairs?)))
}

fn depth(rounds: usize) -> Result<String> {
    let run = |in_flight| run(&load(in_flight, 1, RuntimeKind::Current));
    let pairs: Result<Vec<_>> = (0..rounds).map(|_| Ok((run(64)?, run(1_000)?))).collect();
    Ok(table("64", "1,000", &costs(&pairs?)))
}

fn run(load: &Load) -> Result<Outcome> {
    let mut session = Session::start(load)?;
    session.go_on(WARM_UP)?;
    let outcome = session.window(WINDOW)?;
    session.end()?;
    Ok(outcome)
}

/// The outcome of small calls, and the number of large replies per second meanwhile.
struct Mixed {
    small: Outcome,
    large: f64,
}

fn large(rounds: usize) -> Result<String> {
    let round = || {
        Ok([
            mixed(Large::Nowhere)?,
            mixed(Large::Apart)?,
            mixed(Large::Beside)?,
        ])
    };
    let rounds: Result<Vec<_>> = (0..rounds).map(|_| round()).collect();
    let rounds = rounds?;
    let compare = |figure, [first, second]: [usize; 2], of: fn(&Mixed) -> f64, aim| Comparison {
        figure,
        rounds: rounds
            .iter()
            .map(|round| (of(&round[first]), of(&round[second])))
            .collect(),
        aim,
    };
    let p50 = |it: &Mixed| it.small.p50;
    let p99 = |it: &Mixed| it.small.p99;
    let rows = [
        compare("p50 µs: none, and on another connection", [0, 1], p50, None),
        compare("p99 µs: none, and on another connection", [0, 1], p99, None),
        compare(
            "p50 µs: on another connection, and on the same",
            [1, 2],
            p50,
            None,
        ),
        compare(
            "p99 µs: on another connection, and on the same",
            [1, 2],
            p99,
            Some(Aim::AtMost(2.0)),
        ),
        compare(
            "p99 µs: none, and on the same connection",
            [0, 2],
            p99,
            None,
        ),
        compare(
            "calls/s: on another connection, and on the same",
            [1, 2],
            |it| it.small.calls_per_second,
            None,
        ),
        compare(
            "large replies/s: on another connection, and on the same",
            [1, 2],
            |it| it.large,
            None,
        ),
    ];
    Ok(table("first", "second", &rows))
}

fn mixed(large: Large) -> Result<Mixed> {
    let replies = Record::new()?;
    let mut session = Session::with(&load(8, 1, RuntimeKind::Current), {
        let replies = replies.clone();
        async move |driven| call_with_large(&driven, large, &replies).await
    })?;
    session.go_on(WARM_UP)?;
    let small = session.window(2 * WINDOW)?;
    session.end()?;
    Ok(Mixed {
        small,
        large: replies.take().len() as f64 / (2 * WINDOW).as_secs_f64(),
    })
}

/// The numbers of connections, and of calls in flight over all of them. The first row is the base of the comparison.
const SPREAD: [(usize, usize); 7] = [
    (1, 64),
    (2, 64),
    (4, 64),
    (8, 64),
    (2, 128),
    (4, 256),
    (8, 512),
];

fn connections(rounds: usize) -> Result<String> {
    let round = |runtime| {
        SPREAD
            .iter()
            .map(|(connections, in_flight)| run(&load(*in_flight, *connections, runtime)))
            .collect::<Result<Vec<_>>>()
    };
    let (mut current, mut multi) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        current.push(round(RuntimeKind::Current)?);
        multi.push(round(RuntimeKind::Multi)?);
    }
    let rows = SPREAD
        .iter()
        .enumerate()
        .map(|(row, (connections, in_flight))| {
            format!(
                "| {connections} | {in_flight} | {} | {} |\n",
                spread(&current, row),
                spread(&multi, row)
            )
        });
    Ok(format!(
        "\
| connections | in flight | current-thread: calls/s | cores used | to one connection (min–max) | multi-thread: calls/s | cores used | to one connection (min–max) |
|--:|--:|--:|--:|---|--:|--:|---|
{}",
        rows.collect::<String>()
    ))
}

/// Writes the rate of one row, the number of cores that it takes, and its ratio to the rate of the first row.
fn spread(rounds: &[Vec<Outcome>], row: usize) -> String {
    let of_row = |of: fn(&Outcome) -> f64| {
        median(rounds.iter().map(|round| of(&round[row]))).unwrap_or(f64::NAN)
    };
    let rate = |outcome: &Outcome| outcome.calls_per_second;
    let ratios = rounds
        .iter()
        .map(|round| rate(&round[row]) / rate(&round[0]));
    format!(
        "{} | {} | {}",
        thousands(of_row(rate)),
        short(of_row(cores)),
        Ratio::of_rounds(ratios).map_or(String::new(), |ratio| ratio.to_string()),
    )
}

fn cores(outcome: &Outcome) -> f64 {
    outcome.calls_per_second * outcome.cpu() / 1e6
}

#[cfg(test)]
mod tests {
    use super::{Outcome, spread};

    #[test]
    fn more_connections_are_compared_with_one() {
        let outcome = |calls_per_second| Outcome {
            calls_per_second,
            client_cpu: 3.0,
            server_cpu: 2.0,
            ..Outcome::default()
        };
        let rounds = [
            vec![outcome(100_000.0), outcome(200_000.0)],
            vec![outcome(100_000.0), outcome(400_000.0)],
        ];
        assert_eq!(spread(&rounds, 1), "300,000 | 1.50 | 3.00× (2.00–4.00)");
    }
}
