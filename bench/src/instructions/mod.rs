//! Counts the instructions of a call. The counts differ by less than a hundredth from run to run.

use std::fmt::Write;

use anyhow::Result;

use crate::table::thousands;
use crate::{callgrind, codec};

mod memory;

pub(crate) use self::memory::{Repetition, repeat};

/// The number of calls in flight, and the maximum of instructions for a call.
const DEPTHS: [(usize, Option<f64>); 3] = [(1, Some(9_500.0)), (64, Some(5_000.0)), (512, None)];

/// The number of calls that are cancelled on the connection before the counted calls.
const CANCELLED: u64 = 2_000;
/// The number of counted calls in flight after the cancelled calls.
const DEPTH_AFTER_CANCELLED: usize = 64;

/// The maximum ratio of the instructions on a connection with cancelled calls to those on a fresh connection.
const SAME: f64 = 1.01;

/// The smallest message, and the maximum of the codec's instructions for it.
const SMALLEST: (&str, f64) = ("add-60", 1_900.0);

/// The number of calls of one count. The other count makes twice as many.
const CALLS: u64 = 20_000;

pub(crate) fn main() -> Result<()> {
    println!("### A call over memory, both ends\n\n{}", depths()?);
    println!(
        "### A call over memory, {DEPTH_AFTER_CANCELLED} in flight, on a connection with cancelled calls\n\n{}",
        cancelled()?
    );
    println!(
        "### A message in the codec alone, decode to encode\n\n{}",
        messages()?
    );
    Ok(())
}

fn depths() -> Result<String> {
    let mut table = Table::new("in flight");
    for (in_flight, most) in DEPTHS {
        table.row(&in_flight.to_string(), of_calls(in_flight, 0)?, most);
    }
    Ok(table.0)
}

fn cancelled() -> Result<String> {
    let mut table = Table::new("cancelled before");
    let fresh = of_calls(DEPTH_AFTER_CANCELLED, 0)?;
    table.row("0", fresh, None);
    let after = of_calls(DEPTH_AFTER_CANCELLED, CANCELLED)?;
    table.row(&thousands(CANCELLED as f64), after, Some(fresh * SAME));
    Ok(table.0)
}

fn messages() -> Result<String> {
    let mut table = Table::new("message");
    for (name, instructions) in codec::instructions()? {
        let most = (name == SMALLEST.0).then_some(SMALLEST.1);
        table.row(&name, instructions, most);
    }
    Ok(table.0)
}

/// Returns the number of instructions per call.
fn of_calls(in_flight: usize, cancelled: u64) -> Result<f64> {
    callgrind::instructions(CALLS, |calls| {
        let numbers = [in_flight as u64, calls, cancelled].map(|number| number.to_string());
        ["memory-repeat".to_owned()]
            .into_iter()
            .chain(numbers)
            .collect()
    })
}

/// A table with a row for each count.
struct Table(String);

impl Table {
    fn new(what: &str) -> Self {
        Self(format!(
            "| {what} | instructions | wanted |\n|---|--:|---|\n"
        ))
    }

    fn row(&mut self, of: &str, instructions: f64, most: Option<f64>) {
        let wanted = most.map_or_else(String::new, |most| {
            let verdict = match instructions <= most {
                true => "reached",
                false => "**not reached**",
            };
            format!("at most {}: {verdict}", thousands(most))
        });
        let instructions = thousands(instructions);
        // Writing into memory does not fail.
        let _ = writeln!(self.0, "| {of} | {instructions} | {wanted} |");
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn row_past_its_limit_says_not_reached() {
        let mut table = Table::new("in flight");
        table.row("1", 9_500.4, Some(9_500.0));
        table.row("64", 5_000.0, Some(5_000.0));
        table.row("512", 4_999.0, None);
        let rows = "\
            | 1 | 9,500 | at most 9,500: **not reached** |\n\
            | 64 | 5,000 | at most 5,000: reached |\n\
            | 512 | 4,999 |  |\n";
        assert!(table.0.ends_with(rows), "{}", table.0);
    }
}
