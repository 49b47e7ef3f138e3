//! The targets of this framework, as ratios to its peers.

use std::fmt::Write;

use crate::contender::Contender::{self, JsonrpseeWs, RawQuinn, TarpcBincode, TarpcJson, TonicTls};
use crate::figures::Ratio;
use crate::load::Outcome;
use crate::matrix::{Cell, Runs};
use crate::work::Workload::{Add, Batch, Items, Record, Text};

struct Target {
    cell: Cell,
    peer: Contender,
    wanted: Wanted,
}

/// The target for the ratio of this framework's figure to the peer's.
enum Wanted {
    /// The minimum ratio of the calls per second.
    Rate(f64),
    /// The maximum ratio of the median latencies.
    Latency(f64),
}

use Wanted::{Latency, Rate};

fn targets() -> Vec<Target> {
    let rows = [
        (
            Cell::new(Add, 1, 1),
            vec![
                (RawQuinn, Latency(1.10)),
                (JsonrpseeWs, Latency(1.0)),
                (TonicTls, Latency(1.0)),
            ],
        ),
        (
            Cell::new(Add, 1, 64),
            rates(&[
                (RawQuinn, 0.75),
                (TarpcBincode, 2.0),
                (TarpcJson, 2.5),
                (JsonrpseeWs, 6.0),
                (TonicTls, 8.0),
            ]),
        ),
        (
            Cell::new(Add, 1, 512),
            rates(&[
                (RawQuinn, 0.45),
                (TarpcBincode, 2.5),
                (TarpcJson, 4.0),
                (JsonrpseeWs, 10.0),
                (TonicTls, 12.0),
            ]),
        ),
        (
            Cell::new(Record, 1, 64),
            rates(&[
                (RawQuinn, 0.5),
                (TarpcBincode, 1.0),
                (TarpcJson, 2.5),
                (JsonrpseeWs, 4.0),
                (TonicTls, 4.0),
            ]),
        ),
        (
            Cell::new(Batch, 1, 8),
            rates(&[
                (TarpcBincode, 1.0),
                (TarpcJson, 2.5),
                (JsonrpseeWs, 3.0),
                (TonicTls, 3.0),
            ]),
        ),
        (
            Cell::new(Text, 1, 8),
            rates(&[
                (RawQuinn, 0.6),
                (TarpcBincode, 1.0),
                (TarpcJson, 2.5),
                (JsonrpseeWs, 3.0),
                (TonicTls, 3.0),
            ]),
        ),
        (
            Cell::new(Items, 1, 1),
            rates(&[(JsonrpseeWs, 5.0), (TonicTls, 3.0)]),
        ),
        (
            Cell::new(Items, 1, 8),
            rates(&[(JsonrpseeWs, 5.0), (TonicTls, 3.0)]),
        ),
    ];
    let of_row = |(cell, peers): (Cell, Vec<(Contender, Wanted)>)| {
        peers
            .into_iter()
            .map(move |(peer, wanted)| Target { cell, peer, wanted })
    };
    rows.into_iter().flat_map(of_row).collect()
}

fn rates(rates: &[(Contender, f64)]) -> Vec<(Contender, Wanted)> {
    rates
        .iter()
        .map(|(peer, rate)| (*peer, Rate(*rate)))
        .collect()
}

impl Target {
    fn ratio(&self, runs: &Runs) -> Option<Ratio> {
        let figure: fn(&Outcome) -> f64 = match self.wanted {
            Rate(_) => |outcome| outcome.calls_per_second,
            Latency(_) => |outcome| outcome.p50,
        };
        runs.ratio(self.cell, self.peer, figure)
    }

    fn is_reached(&self, ratio: &Ratio) -> bool {
        match self.wanted {
            Rate(least) => ratio.median >= least,
            Latency(most) => ratio.median <= most,
        }
    }

    fn wanted(&self) -> String {
        match self.wanted {
            Rate(least) => format!("calls/s at least {least}×"),
            Latency(most) => format!("p50 at most {most:.2}×"),
        }
    }
}

/// Returns a table of the targets, each with its verdict.
pub(crate) fn table(runs: &Runs) -> String {
    let mut table = "\
| work | in flight | ours against | wanted | measured (min–max) | |
|---|--:|---|---|---|---|
"
    .to_owned();
    for target in targets() {
        let (measured, verdict) = match target.ratio(runs) {
            Some(ratio) if target.is_reached(&ratio) => (ratio.to_string(), "reached"),
            Some(ratio) => (ratio.to_string(), "**not reached**"),
            None => ("–".to_owned(), "not measured"),
        };
        // Writing into memory does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {measured} | {verdict} |",
            target.cell.workload.name(),
            target.cell.in_flight,
            target.peer.label(),
            target.wanted(),
        );
    }
    table
}
