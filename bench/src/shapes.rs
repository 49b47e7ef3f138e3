//! Counts the instructions that a server takes for messages of each shape. They must be linear in the bytes, and not many
//! times those of the cheapest messages with as many bytes and values.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rpc_runtime::Limits;
use rpc_runtime::fuzzing::harness::ScenarioPeer;
use rpc_runtime::fuzzing::shapes::{Scenario, Shape, Size, all, cheapest};
use tokio::runtime::Runtime;

use crate::callgrind::callgrind;
use crate::load::RuntimeKind;
use crate::process::output;

/// The sizes of the messages of a shape, in bytes. The second is four times the first, and the server keeps buffers of that
/// size, too.
const SIZES: [usize; 2] = [12 << 10, 48 << 10];

/// The maximum growth of the instructions per byte when there are four times as many bytes. It allows for buffers that
/// grow.
const LINEAR: f64 = 1.3;

/// The maximum ratio of a shape's instructions to those of the cheapest messages, if its sender is not charged for it.
const MOST: f64 = 4.0;

/// Prints the table.
///
/// # Errors
/// If a shape takes more than the maximum.
pub(crate) fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (table, are_reached) = table(&counts(folder.path())?)?;
    print!("{table}");
    ensure!(are_reached, "a shape takes more than is wanted");
    Ok(())
}

/// Runs all shapes under valgrind, and returns the counts.
fn counts(folder: &Path) -> Result<Vec<u64>> {
    let file = folder.join("shapes");
    let mut valgrind = callgrind();
    valgrind
        .arg("--collect-atstart=no")
        .arg(format!("--toggle-collect={MEASURED}"))
        .arg(format!("--dump-after={MEASURED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .arg("shapes-once");
    output(valgrind)?;
    let parts = (1..).map(|part| file.with_extension(part.to_string()));
    let parts = parts.take_while(|part| part.exists());
    parts
        .map(|part| total(&fs::read_to_string(part)?))
        .collect()
}

/// Reads the count in a profile.
fn total(profile: &str) -> Result<u64> {
    let total = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("a profile without a count")?;
    Ok(total.trim().parse()?)
}

/// Returns the messages of a shape with one size, and the cheapest messages with as many bytes and values.
fn pair(shape: &Shape, size: usize) -> [(Scenario, String); 2] {
    let messages = (shape.make)(size);
    let cheapest = cheapest(Size::of(&messages));
    [(shape.scenario, messages), (Scenario::Idle, cheapest)]
}

/// Returns `true` if a server closes the connection of a client that sends many such messages.
fn is_charged(runtime: &Runtime, shape: &Shape) -> Result<bool> {
    let limits = Limits {
        max_net_cancellations: 0,
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    let messages = Bytes::from((shape.make)(SIZES[0]));
    runtime.block_on(async {
        let harness = ScenarioPeer::start(Scenario::Idle, limits).await;
        let answered = harness.context("no connection")?.process(&messages).await;
        Ok(answered.is_none())
    })
}

/// Sends the messages of all shapes, one after the other.
pub(crate) fn once(only: Option<&str>) -> Result<()> {
    let runtime = RuntimeKind::Current.build()?;
    for shape in all().filter(|shape| only.is_none_or(|only| only == shape.name)) {
        for size in SIZES {
            for (scenario, messages) in pair(shape, size) {
                let messages = Bytes::from(messages);
                let harness = runtime.block_on(warm(scenario, &messages));
                let harness = harness.with_context(|| format!("{}: no connection", shape.name))?;
                let processed = process_messages_of_a_shape(&runtime, harness, &messages);
                ensure!(processed, "{}: the connection was closed", shape.name);
            }
        }
    }
    Ok(())
}

/// Returns a connection on which such messages were sent before, so that buffers have grown. Items are not sent before,
/// since they end with their call.
async fn warm(scenario: Scenario, messages: &Bytes) -> Option<ScenarioPeer> {
    let mut harness = ScenarioPeer::start(scenario, unlimited()).await?;
    if scenario != Scenario::Upload {
        harness.process(messages).await?;
    }
    Some(harness)
}

/// The name by which callgrind knows the function below, whose instructions are counted.
const MEASURED: &str = "bench::shapes::process_messages_of_a_shape";

#[inline(never)]
fn process_messages_of_a_shape(
    runtime: &Runtime,
    mut harness: ScenarioPeer,
    messages: &Bytes,
) -> bool {
    runtime.block_on(harness.process(messages)).is_some()
}

fn unlimited() -> Limits {
    Limits {
        max_net_cancellations: usize::MAX,
        ..Limits::default()
    }
}

/// The counts of a shape.
struct Row {
    name: &'static str,
    /// The number of bytes of each size.
    bytes: [usize; 2],
    /// The instructions for each size, of the shape's messages and of the cheapest.
    counts: [[u64; 2]; 2],
    is_charged: bool,
}

impl Row {
    /// Returns the instructions per byte for each size.
    fn each(&self) -> [f64; 2] {
        let [[small, _], [large, _]] = self.counts;
        let [bytes, more_bytes] = self.bytes;
        [
            small as f64 / bytes as f64,
            large as f64 / more_bytes as f64,
        ]
    }

    fn growth(&self) -> f64 {
        let [small, large] = self.each();
        large / small
    }

    fn ratio(&self) -> f64 {
        let [_, [instructions, cheapest]] = self.counts;
        instructions as f64 / cheapest as f64
    }

    fn is_reached(&self) -> bool {
        self.growth() <= LINEAR && (self.is_charged || self.ratio() <= MOST)
    }
}

/// Returns a table with a row for each shape, and `true` if every shape is within its maximum.
fn table(counts: &[u64]) -> Result<(String, bool)> {
    let runtime = RuntimeKind::Current.build()?;
    let counts = counts.chunks_exact(4);
    ensure!(counts.len() == all().count(), "{} profiles", counts.len());
    let [small, large] = SIZES.map(|size| size >> 10);
    let mut table = format!(
        "### Messages by their shape\n\n\
        | shape | instructions a byte of {small} KiB | of {large} KiB | growth | times the cheapest | charged | wanted |\n\
        |---|--:|--:|--:|--:|---|---|\n"
    );
    let mut are_reached = true;
    for (shape, counts) in all().zip(counts) {
        let row = Row {
            name: shape.name,
            bytes: SIZES.map(|size| (shape.make)(size).len()),
            counts: [[counts[0], counts[1]], [counts[2], counts[3]]],
            is_charged: is_charged(&runtime, shape)?,
        };
        are_reached &= row.is_reached();
        write_row(&row, &mut table)?;
    }
    Ok((table, are_reached))
}

fn write_row(row: &Row, table: &mut String) -> Result<()> {
    let [small, large] = row.each();
    let verdict = match row.is_reached() {
        true => "reached",
        false => "**not reached**",
    };
    writeln!(
        table,
        "| {} | {small:.1} | {large:.1} | {:.2} | {:.2} | {} | {verdict} |",
        row.name,
        row.growth(),
        row.ratio(),
        if row.is_charged { "yes" } else { "" },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_is_reached_if_it_is_linear_and_cheap_or_charged() {
        let row = |small, large, cheapest, is_charged| Row {
            name: "shape",
            bytes: [10, 40],
            counts: [[small, 1], [large, cheapest]],
            is_charged,
        };
        assert!(row(100, 520, 130, false).is_reached());
        assert!(!row(100, 520, 129, false).is_reached());
        assert!(row(100, 520, 1, true).is_reached());
        assert!(!row(100, 521, 521, true).is_reached());
    }

    #[test]
    fn cheapest_messages_have_the_size_of_the_shape() {
        for shape in all() {
            let size = Size::of(&(shape.make)(SIZES[0]));
            let cheapest = Size::of(&cheapest(size));
            assert_eq!(cheapest.messages, size.messages, "{}", shape.name);
            let values = cheapest.values.abs_diff(size.values);
            assert!(values <= 10 * size.messages, "{}: {cheapest:?}", shape.name);
            // A value takes two bytes, a message sixty.
            let least = size.bytes.max(2 * size.values);
            let bytes = cheapest.bytes.abs_diff(least);
            assert!(
                bytes <= least / 10 + 60 * size.messages,
                "{}: {cheapest:?}",
                shape.name
            );
        }
    }

    #[test]
    fn count_in_a_profile_is_read() {
        assert_eq!(total("events: Ir\n\ntotals: 4711\n").unwrap(), 4711);
        assert!(total("events: Ir\n").is_err());
    }
}
