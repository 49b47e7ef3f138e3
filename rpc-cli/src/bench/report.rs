//! Reports the outcomes of the calls.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use rpc_runtime::code;
use serde_json::{Map, Value, json};

use super::load::{Length, Load, Pace};
use super::record::{Kind, Record};
use crate::escape::Printable;
use crate::output::{FAINT, NUMBER, TITLE, WARNING, grouped};
use crate::ping::shown;

pub(super) struct Report {
    pub(super) target: String,
    pub(super) method: String,
    pub(super) connections: usize,
    pub(super) load: Load,
    pub(super) measured: Record,
}

const PERCENTILES: [(f64, &str); 7] = [
    (50.0, "p50"),
    (75.0, "p75"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99.9"),
    (99.99, "p99.99"),
];

/// The number of rows of the histogram.
const ROWS: u32 = 12;
/// The number of columns of its longest bar.
const COLUMNS: f64 = 40.0;

impl Report {
    pub(super) fn failures(&self) -> u64 {
        self.measured.failed()
    }

    /// Returns `true` if some replies could not be used, possibly because they were too large.
    pub(super) fn has_unusable(&self) -> bool {
        self.measured.failures.contains_key(&Kind::Unusable)
    }

    /// Returns `true` if the server rejected the arguments of every call.
    pub(super) fn has_only_invalid_params(&self) -> bool {
        let mut kinds = self.measured.failures.keys();
        let invalid = Kind::Answered(code::INVALID_PARAMS);
        self.answered() == 0 && kinds.all(|kind| *kind == invalid)
    }

    fn answered(&self) -> u64 {
        self.measured.latencies.len()
    }

    /// Returns the number of replies per second.
    fn rate(&self) -> f64 {
        let seconds = self.measured.elapsed().as_secs_f64();
        self.answered() as f64 / seconds.max(f64::MIN_POSITIVE)
    }

    pub(super) fn to_json(&self) -> Value {
        let Load {
            pace,
            length,
            warm_up,
        } = self.load;
        let mut report = json!({
            "target": self.target,
            "method": self.method,
            "connections": self.connections,
            "warm_up_seconds": warm_up.as_secs_f64(),
        });
        let (in_flight, rate) = match pace {
            Pace::Closed { calls } => (calls, Value::Null),
            Pace::Open { rate, most } => (most, json!(rate)),
        };
        report["loop"] = json!(if rate.is_null() { "closed" } else { "open" });
        report["in_flight"] = json!(in_flight);
        report["intended_rate"] = rate;
        if let Length::Calls(calls) = length {
            report["intended_calls"] = json!(calls);
        }
        report["seconds"] = json!(self.measured.elapsed().as_secs_f64());
        report["answered"] = json!(self.answered());
        report["failed"] = json!(self.failures());
        report["rate"] = json!(self.rate());
        let failures = self.measured.failures.iter().map(|(kind, failures)| {
            json!({"kind": name(*kind), "count": failures.count, "first": failures.first})
        });
        report["failures"] = failures.collect();
        report["latency_ns"] = self.latencies_json();
        report
    }

    fn latencies_json(&self) -> Value {
        let latencies = &self.measured.latencies;
        if latencies.is_empty() {
            return Value::Null;
        }
        let mut all = Map::new();
        all.insert("min".into(), json!(latencies.min()));
        all.insert("mean".into(), json!(latencies.mean()));
        all.insert("deviation".into(), json!(latencies.stdev()));
        for (percentile, name) in PERCENTILES {
            all.insert(
                name.into(),
                json!(latencies.value_at_percentile(percentile)),
            );
        }
        all.insert("max".into(), json!(latencies.max()));
        all.into()
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let method = Printable(&self.method);
        let connections = match self.connections {
            1 => "one connection".into(),
            several => format!("{several} connections"),
        };
        let pace = match self.load.pace {
            Pace::Closed { calls } => format!("closed loop, {} in flight", grouped(calls as u64)),
            Pace::Open { rate, .. } => format!("open loop, {rate} calls/s"),
        };
        writeln!(
            out,
            "{TITLE}{method}{TITLE:#} {FAINT}on {}, {pace}, {connections}{FAINT:#}\n",
            self.target
        )?;
        let (calls, seconds) = (grouped(self.answered()), shown(self.measured.elapsed()));
        let rate = grouped(self.rate().round() as u64);
        writeln!(
            out,
            "  {TITLE}{rate}{TITLE:#} calls/s  {FAINT}{calls} answered in {seconds}{FAINT:#}"
        )?;
        for (kind, failures) in &self.measured.failures {
            let mut first = Cow::Borrowed(failures.first.as_str());
            if let Kind::Answered(code) = kind {
                // The name of the kind has the code already.
                first = first.replacen(&format!(" (code {code})"), "", 1).into();
            }
            let (count, first) = (grouped(failures.count), Printable(&first));
            writeln!(
                out,
                "  {WARNING}{count} failed{WARNING:#}  {}: {first}",
                name(*kind)
            )?;
        }
        match self.measured.latencies.is_empty() {
            true => Ok(()),
            false => write_latencies(out, &self.measured.latencies),
        }
    }
}

fn write_latencies(out: &mut impl Write, latencies: &Histogram<u64>) -> io::Result<()> {
    let time = |nanoseconds: u64| shown(Duration::from_nanos(nanoseconds));
    writeln!(out)?;
    let percentiles = PERCENTILES
        .iter()
        .map(|(percentile, name)| (*name, latencies.value_at_percentile(*percentile)));
    let (least, most) = (("min", latencies.min()), ("max", latencies.max()));
    for (name, value) in [least].into_iter().chain(percentiles).chain([most]) {
        writeln!(out, "  {FAINT}{name:>6}{FAINT:#} {:>9}", time(value))?;
    }
    writeln!(out)?;
    let rows = rows(latencies);
    let longest = rows
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or_default();
    for (up_to, count) in rows {
        let share = count as f64 / latencies.len() as f64 * 100.0;
        let bar = bar(count as f64 / longest as f64);
        writeln!(
            out,
            "  {:>11} {NUMBER}{bar}{NUMBER:#} {FAINT}{share:.1} %{FAINT:#}",
            format!("≤ {}", time(up_to))
        )?;
    }
    Ok(())
}

/// Returns the upper bound of each row, and the number of calls up to that bound and above that of the previous row.
/// The bounds grow by a constant factor, from the fastest call to the 99th percentile. The last row has the remaining
/// calls.
fn rows(latencies: &Histogram<u64>) -> Vec<(u64, u64)> {
    let fastest = latencies.min().max(1) as f64;
    let slow = (latencies.value_at_percentile(99.0) as f64).max(fastest);
    let factor = (slow / fastest).powf(1.0 / f64::from(ROWS - 1));
    let mut rows: Vec<(u64, u64)> = Vec::new();
    let mut above = 0;
    for row in 1..=ROWS {
        let up_to = match row {
            ROWS => latencies.max(),
            row => (fastest * factor.powf(f64::from(row))).round() as u64,
        };
        // Values that the histogram does not distinguish belong to one row.
        let up_to = latencies.highest_equivalent(up_to);
        if up_to >= above {
            rows.push((up_to, latencies.count_between(above, up_to)));
            above = up_to + 1;
        }
    }
    rows
}

/// Returns a bar with a resolution of an eighth of a column.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * COLUMNS * 8.0).round() as usize;
    let whole = "█".repeat(eighths / 8);
    whole + PARTS.get(eighths % 8).unwrap_or(&"")
}

fn name(kind: Kind) -> String {
    match kind {
        Kind::Timeout => "timeout".into(),
        Kind::Connection => "connection".into(),
        Kind::Unusable => "unusable".into(),
        Kind::Answered(code) => format!("error {code}"),
        Kind::AnsweredOtherwise => "other errors".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_in_one_row() {
        let dense: Vec<u64> = (400_000..600_000).step_by(7).collect();
        let cases: [&[u64]; 6] = [
            &dense,
            &[1],
            &[5, 5, 5],
            &[1, 2, 3, 4, 5],
            &[100_000, 110_000, 400_000, 9_000_000_000],
            &[0, 1],
        ];
        for values in cases {
            let mut latencies = Histogram::new(3).unwrap();
            values
                .iter()
                .for_each(|value| latencies.record(*value).unwrap());
            let rows = rows(&latencies);
            let total: u64 = rows.iter().map(|(_, count)| count).sum();
            assert_eq!(total, values.len() as u64, "{rows:?}");
            assert!(rows.is_sorted_by(|one, next| one.0 < next.0), "{rows:?}");
            assert!(rows.len() <= ROWS as usize);
        }
    }

    #[test]
    fn a_bar_has_eighths() {
        assert_eq!(bar(1.0), "█".repeat(40));
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(1.0 / 320.0), "▏");
        assert_eq!(bar(0.5 + 4.0 / 320.0), "█".repeat(20) + "▌");
    }
}
