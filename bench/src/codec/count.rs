//! Counts in separate processes: allocations with the program that counts them, instructions with valgrind.

use std::process::Command;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::contender::Contender;
use super::figures::Figures;
use super::message::Message;
use crate::callgrind;
use crate::matrix::build_counting;
use crate::process::{self, output, say};

/// One message, answered `times` times, after as many times to warm up.
#[derive(Debug, Args)]
pub(crate) struct Repetition {
    contender: Contender,
    message: Message,
    times: u64,
}

/// Answers a message, and prints the number of allocations.
///
/// Reads no clock, since rustix's does not run in every valgrind.
pub(crate) fn repeat(repetition: &Repetition) -> Result<()> {
    let bytes = repetition.message.bytes()?;
    let mut answers = repetition.contender.answers(repetition.message);
    answers.repeat(&bytes, repetition.times)?;
    let before = process::allocations();
    answers.repeat(&bytes, repetition.times)?;
    say(&(process::allocations() - before))
}

/// Returns the number of allocations and reallocations per message.
pub(crate) fn allocations(messages: &[Message]) -> Result<Vec<Figures>> {
    let counting = build_counting(&std::env::current_exe()?)?;
    each(
        messages,
        Contender::value_variants(),
        |message, contender| {
            let times = times(message);
            let mut command = Command::new(&counting);
            command.args(arguments(message, contender, times));
            let output = output(command)?;
            let allocations: u64 = serde_json::from_slice(&output.stdout)?;
            Ok(allocations as f64 / times as f64)
        },
    )
}

/// Returns the number of instructions per message.
pub(crate) fn instructions(messages: &[Message], contenders: &[Contender]) -> Result<Vec<Figures>> {
    each(messages, contenders, |message, contender| {
        let arguments = |times| arguments(message, contender, times);
        // A repetition answers as many messages again to warm up.
        Ok(callgrind::instructions(times(message), arguments)? / 2.0)
    })
}

/// Returns a number of repetitions that makes about the same work for every message.
fn times(message: Message) -> u64 {
    1 + 200_000 / message.size as u64
}

fn each(
    messages: &[Message],
    contenders: &[Contender],
    count: impl Fn(Message, Contender) -> Result<f64>,
) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for message in messages {
        for contender in contenders {
            figures.push(Figures {
                message: *message,
                contender: *contender,
                rounds: vec![count(*message, *contender)?],
            });
        }
    }
    Ok(figures)
}

/// Returns the arguments with which this program answers a message `times` times.
fn arguments(message: Message, contender: Contender, times: u64) -> Vec<String> {
    let name = contender.to_possible_value();
    let name = name.map_or_else(String::new, |name| name.get_name().to_owned());
    vec![
        "codec-repeat".to_owned(),
        name,
        message.name(),
        times.to_string(),
    ]
}
