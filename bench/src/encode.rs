//! Measures the cost of writing a value as JSON with this framework's serializer and three others.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use anyhow::{Result, ensure};
use rpc_runtime::Base64;
use rpc_runtime::codegen::{SentParams, arg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::work::WORK;

const ROUNDS: usize = 41;

type Encode<T> = fn(&T, &mut Vec<u8>) -> io::Result<()>;

/// Prints the nanoseconds for each value and serializer: the least of the rounds, in each of which the serializers run in
/// turn.
pub(crate) fn main() -> Result<()> {
    let prose = |escaped_every: usize| -> String {
        let bytes = (1..=10_000).map(|at| if at % escaped_every == 0 { '\n' } else { 'a' });
        bytes.collect()
    };
    println!("| value | bytes | ours | serde_json | simd-json | sonic-rs |");
    println!("|---|--:|--:|--:|--:|--:|");
    row("two numbers", &(17, -4_200_000))?;
    row("a line of an order", &WORK.order.lines[0])?;
    row("an order", &WORK.order)?;
    row("55 orders", &WORK.orders)?;
    row(
        "1,000 floats",
        &Vec::from_iter((0..1000).map(|n| f64::from(n) / 7.0)),
    )?;
    row(
        "1,000 integers",
        &Vec::from_iter((0..1000).map(|n| n * 7919)),
    )?;
    row("text, no escapes", &prose(usize::MAX))?;
    row(
        "10,000 bytes as Base64",
        &Base64(prose(usize::MAX).into_bytes()),
    )?;
    row("text, an escape in 80", &prose(80))?;
    row("text, an escape in 40", &prose(40))?;
    row("text, an escape in 4", &prose(4))?;
    row("text, nothing but escapes", &prose(1))
}

fn row<T: Serialize + DeserializeOwned>(name: &str, value: &T) -> Result<()> {
    let writers: [Encode<T>; 4] = [
        |value, out| (arg("").send(value),).write(out).map_err(Into::into),
        |value, out| serde_json::to_writer(out, value).map_err(Into::into),
        |value, out| simd_json::to_writer(out, value).map_err(io::Error::other),
        |value, out| sonic_rs::to_writer(out, value).map_err(io::Error::other),
    ];
    let mut out = Vec::new();
    let expected = serde_json::to_vec(value)?;
    writers[0](value, &mut out)?;
    ensure!(
        out[1..out.len() - 1] == expected,
        "{name} is written wrongly"
    );
    let bytes = expected.len();
    let repeats = (1_000_000 / (bytes + 100)).max(1);
    let mut least = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        for (write, least) in writers.iter().zip(&mut least) {
            let start = Instant::now();
            for _ in 0..repeats {
                out.clear();
                write(black_box(value), &mut out)?;
                black_box(&out);
            }
            *least = least.min(start.elapsed().as_secs_f64() * 1e9 / repeats as f64);
        }
    }
    let [ours, serde_json, simd_json, sonic_rs] = least;
    println!("| {name} | {bytes} | {ours:.0} | {serde_json:.0} | {simd_json:.0} | {sonic_rs:.0} |");
    Ok(())
}
