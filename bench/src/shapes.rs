//! How many instructions a server takes for messages of each shape: linear in their bytes, and not many times those of the
//! cheapest messages with as many bytes and values.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use rpc_runtime::Limits;
use rpc_runtime::fuzzing::shapes::{Scene, Shape, Size, all, cheapest};
use rpc_runtime::fuzzing::stage::Stage;
use tokio::runtime::Runtime;

use crate::load::RuntimeKind;
use crate::process::output;
use crate::table::thousands;

/// Bytes of messages of a shape. The second has four times as many.
const SIZES: [usize; 2] = [16 << 10, 64 << 10];

/// What four times as many bytes may take of instructions: four times as many, and what is lost to rounding.
const LINEAR: f64 = 4.2;

/// How many times the instructions of the cheapest messages a shape may take, if its sender is not charged for it.
const MOST: f64 = 4.0;

/// Prints the table.
///
/// # Errors
/// When a shape takes more than is wanted.
pub(crate) fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (table, are_reached) = table(&counts(folder.path())?)?;
    print!("{table}");
    ensure!(are_reached, "a shape takes more than is wanted");
    Ok(())
}

/// Has valgrind count a run of all shapes.
fn counts(folder: &Path) -> Result<Vec<u64>> {
    let file = folder.join("shapes");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no"])
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

/// What is measured of a shape with one size: its messages, and the cheapest with as many bytes and values.
fn pair(shape: &Shape, size: usize) -> [(Scene, String); 2] {
    let messages = (shape.make)(size);
    let cheapest = cheapest(Size::of(&messages));
    [(shape.scene, messages), (Scene::Idle, cheapest)]
}

/// Whether a server closes the connection of a client that sends much of this.
fn is_charged(runtime: &Runtime, shape: &Shape) -> Result<bool> {
    let limits = Limits {
        cancellations: 0,
        cancellations_per_second: 0,
        ..Limits::default()
    };
    let messages = Bytes::from((shape.make)(SIZES[0]));
    runtime.block_on(async {
        let stage = Stage::set(Scene::Idle, limits).await;
        let answered = stage.context("no connection")?.process(&messages).await;
        Ok(answered.is_none())
    })
}

/// Sends the messages of all shapes, one after the other.
pub(crate) fn once(only: Option<&str>) -> Result<()> {
    let runtime = RuntimeKind::Current.build()?;
    for shape in all().filter(|shape| only.is_none_or(|only| only == shape.name)) {
        for size in SIZES {
            for (scene, messages) in pair(shape, size) {
                let stage = runtime
                    .block_on(Stage::set(scene, unlimited()))
                    .context("no connection")?;
                let messages = Bytes::from(messages);
                let processed = process_messages_of_a_shape(&runtime, stage, &messages);
                ensure!(processed, "{}: the connection was closed", shape.name);
            }
        }
    }
    Ok(())
}

/// What is counted: the function below. Callgrind knows it by this name.
const MEASURED: &str = "bench::shapes::process_messages_of_a_shape";

#[inline(never)]
fn process_messages_of_a_shape(runtime: &Runtime, mut stage: Stage, messages: &Bytes) -> bool {
    runtime.block_on(stage.process(messages)).is_some()
}

fn unlimited() -> Limits {
    Limits {
        cancellations: usize::MAX,
        ..Limits::default()
    }
}

/// What was counted of a shape.
struct Row {
    name: &'static str,
    /// Instructions for each size, of the shape's messages and of the cheapest.
    counts: [[u64; 2]; 2],
    is_charged: bool,
}

impl Row {
    fn growth(&self) -> f64 {
        let [small, large] = self.counts.map(|[instructions, _]| instructions as f64);
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

/// The rows of a table, and whether all of them reached what is wanted.
fn table(counts: &[u64]) -> Result<(String, bool)> {
    let runtime = RuntimeKind::Current.build()?;
    let counts = counts.chunks_exact(4);
    ensure!(counts.len() == all().count(), "{} profiles", counts.len());
    let [small, large] = SIZES.map(|size| size >> 10);
    let mut table = format!(
        "### Messages by their shape\n\n\
        | shape | instructions, {small} KiB | {large} KiB | growth | of the cheapest | charged | wanted |\n\
        |---|--:|--:|--:|--:|---|---|\n"
    );
    let mut are_reached = true;
    for (shape, counts) in all().zip(counts) {
        let row = Row {
            name: shape.name,
            counts: [[counts[0], counts[1]], [counts[2], counts[3]]],
            is_charged: is_charged(&runtime, shape)?,
        };
        are_reached &= row.is_reached();
        write_row(&row, &mut table)?;
    }
    Ok((table, are_reached))
}

fn write_row(row: &Row, table: &mut String) -> Result<()> {
    let [small, large] = row.counts.map(|[instructions, _]| instructions as f64);
    let verdict = match row.is_reached() {
        true => "reached",
        false => "**not reached**",
    };
    writeln!(
        table,
        "| {} | {} | {} | {:.2} | {:.2} | {} | {verdict} |",
        row.name,
        thousands(small),
        thousands(large),
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
            counts: [[small, 1], [large, cheapest]],
            is_charged,
        };
        assert!(row(100, 420, 105, false).is_reached());
        assert!(!row(100, 420, 104, false).is_reached());
        assert!(row(100, 420, 1, true).is_reached());
        assert!(!row(100, 421, 421, true).is_reached());
    }

    #[test]
    fn cheapest_messages_have_the_size_of_the_shape() {
        for shape in all() {
            let size = Size::of(&(shape.make)(SIZES[0]));
            let cheapest = Size::of(&cheapest(size));
            assert_eq!(cheapest.messages, size.messages, "{}", shape.name);
            let are_long = size.bytes / size.messages > 1000;
            let difference = cheapest.bytes.abs_diff(size.bytes);
            assert!(
                !are_long || difference * 10 < size.bytes,
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
