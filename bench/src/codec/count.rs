//! What is counted in processes of their own: allocations by the program that counts them, instructions by valgrind.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::contender::Contender;
use super::figures::Figures;
use super::message::Message;
use crate::matrix::build_counting;
use crate::process::{self, say};

/// One message, answered so many times, after as many to warm up.
#[derive(Debug, Args)]
pub(crate) struct Repetition {
    contender: Contender,
    message: Message,
    times: u64,
}

/// Says how often it allocated. Reads no clock: rustix's does not run in every valgrind.
pub(crate) fn repeat(repetition: &Repetition) -> Result<()> {
    let bytes = repetition.message.bytes()?;
    let mut answers = repetition.contender.answers(repetition.message);
    answers.repeat(&bytes, repetition.times)?;
    let before = process::allocations();
    answers.repeat(&bytes, repetition.times)?;
    say(&(process::allocations() - before))
}

/// Allocations and reallocations a message.
pub(crate) fn allocations(messages: &[Message]) -> Result<Vec<Figures>> {
    let counting = build_counting(&std::env::current_exe()?)?;
    each(messages, |message, contender| {
        let times = times(message);
        let output = run(Command::new(&counting), message, contender, times)?;
        let allocations: u64 = serde_json::from_slice(&output.stdout)?;
        Ok(allocations as f64 / times as f64)
    })
}

/// Instructions a message, as callgrind counts them: what twice as many messages take more.
pub(crate) fn instructions(messages: &[Message]) -> Result<Vec<Figures>> {
    let timing = std::env::current_exe()?;
    each(messages, |message, contender| {
        let times = times(message);
        let once = collected(&timing, message, contender, times)?;
        let twice = collected(&timing, message, contender, 2 * times)?;
        // A repetition has as many messages again to warm up.
        Ok((twice - once) as f64 / (2 * times) as f64)
    })
}

/// About as much work for every message.
fn times(message: Message) -> u64 {
    1 + 200_000 / message.size as u64
}

fn each(
    messages: &[Message],
    count: impl Fn(Message, Contender) -> Result<f64>,
) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for message in messages {
        for contender in Contender::value_variants() {
            figures.push(Figures {
                message: *message,
                contender: *contender,
                rounds: vec![count(*message, *contender)?],
            });
        }
    }
    Ok(figures)
}

fn collected(program: &Path, message: Message, contender: Contender, times: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program);
    let told = run(valgrind, message, contender, times)?.stderr;
    instructions_in(&String::from_utf8_lossy(&told))
}

/// Out of `==4711== Collected : 123456`.
fn instructions_in(told: &str) -> Result<u64> {
    let count = told.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = count.with_context(|| format!("valgrind counted nothing: {told}"))?;
    Ok(count.trim().parse()?)
}

/// Has `command`, which is this program or runs it, answer a message so many times.
fn run(mut command: Command, message: Message, contender: Contender, times: u64) -> Result<Output> {
    let name = contender.to_possible_value().context("no name")?;
    command
        .args(["codec-repeat", name.get_name(), &message.name()])
        .arg(times.to_string());
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{program} is not installed"),
        output => output?,
    };
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {told}");
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let told = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(instructions_in(told).expect("a count"), 123_456);
        assert!(instructions_in("==7== Command: bench").is_err());
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let command = Command::new("no-such-program");
        let failed = run(command, Message::ALL[0], Contender::Ours, 1).expect_err("not there");
        assert_eq!(failed.to_string(), "no-such-program is not installed");
    }
}
