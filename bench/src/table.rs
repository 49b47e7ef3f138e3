//! The table, in Markdown.

use std::fmt::Write;

use crate::contender::Contender;
use crate::figures::Ratio;
use crate::load::RuntimeKind;
use crate::matrix::{Cell, Runs};

/// Returns the table, with a section for each cell.
pub(crate) fn table(runs: &Runs) -> String {
    let cells = runs.cells().into_iter();
    cells.map(|cell| section(runs, cell)).collect()
}

const HEAD: &str = "\
| contender | calls/s, current-thread | calls/s, multi-thread | p50 µs | p99 µs | CPU µs/call, client | server | allocations/call, client | server | ours ÷ it (min–max) |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

fn section(runs: &Runs, cell: Cell) -> String {
    let mut section = format!("### {}\n\n{HEAD}", title(cell));
    for contender in runs.contenders(cell) {
        // Writing into memory does not fail.
        let _ = writeln!(section, "{}", row(runs, cell, contender));
    }
    section + "\n"
}

pub(crate) fn title(cell: Cell) -> String {
    let Cell {
        workload,
        connections,
        in_flight,
    } = cell;
    let over = if connections == 1 {
        "connection"
    } else {
        "connections"
    };
    format!(
        "`{}`, {in_flight} in flight over {connections} {over}",
        workload.name()
    )
}

fn row(runs: &Runs, cell: Cell, contender: Contender) -> String {
    let Some(figures) = runs.figures(cell, contender) else {
        return format!("| {} | failed |", contender.label());
    };
    let rate = |runtime| {
        let rate = runs
            .rate(cell, contender, runtime)
            .map_or("–".to_owned(), thousands);
        if runtime == figures.runtime {
            format!("**{rate}**")
        } else {
            rate
        }
    };
    let (client, server) = figures
        .allocations
        .map_or(("–".to_owned(), "–".to_owned()), |(client, server)| {
            (short(client), short(server))
        });
    let median = figures.median;
    let ratio = runs.ratio(cell, contender, |outcome| outcome.calls_per_second);
    let ratio = ratio
        .filter(|_| contender != Contender::Ours)
        .map_or(String::new(), |ratio| ratio.to_string());
    let lock = if contender.is_encrypted() {
        " 🔒"
    } else {
        ""
    };
    format!(
        "| {}{lock} | {} | {} | {} | {} | {} | {} | {client} | {server} | {ratio} |",
        contender.label(),
        rate(RuntimeKind::Current),
        rate(RuntimeKind::Multi),
        short(median.p50),
        short(median.p99),
        short(median.client_cpu),
        short(median.server_cpu),
    )
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2}× ({:.2}–{:.2})",
            self.median, self.least, self.most
        )
    }
}

/// Writes a number as `1,234,567`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a number with about three digits.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 1000.0 => thousands(value),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{short, thousands};

    #[test]
    fn numbers_are_short_and_grouped() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(short(0.081), "0.08");
        assert_eq!(short(41.93), "41.9");
        assert_eq!(short(20_300.0), "20,300");
    }
}
