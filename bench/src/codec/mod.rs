//! Measures the cost of a message within one process, without a transport: decoding, dispatch and encoding.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::contender::Contender;
use self::message::Message;

mod answers;
mod contender;
mod count;
mod figures;
mod handlers;
mod jsonrpsee;
mod message;
mod ours;
mod table;
mod time;
mod typed;

pub(crate) use self::count::{Repetition, repeat};

/// The extent of the measurements.
#[derive(Debug, Args)]
pub(crate) struct Extent {
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// The CPU time that each contender has for a message in each round, in milliseconds.
    #[arg(long, default_value_t = 20)]
    milliseconds: u64,
    /// Measures only messages whose names contain this, such as `300` or `echo`.
    #[arg(long, default_value = "")]
    only: String,
    /// Counts instructions with valgrind instead of measuring time.
    #[arg(long)]
    instructions: bool,
}

pub(crate) fn main(extent: &Extent) -> Result<()> {
    let wanted = |message: &Message| message.name().contains(&extent.only);
    let messages: Vec<_> = Message::ALL.into_iter().filter(wanted).collect();
    ensure!(!messages.is_empty(), "no message is called {}", extent.only);
    for message in &messages {
        for contender in Contender::value_variants() {
            check(*message, *contender)?;
        }
    }
    if extent.instructions {
        let instructions = count::instructions(&messages, Contender::value_variants())?;
        print!("{}", table::instructions(&instructions));
    } else {
        let times = time::measure(&messages, extent.rounds, extent.milliseconds)?;
        let allocations = count::allocations(&messages)?;
        print!("{}", table::times(&times, &allocations));
    }
    Ok(())
}

/// Returns the instructions that this framework takes for one message of each size but the largest, by the message's name.
pub(crate) fn instructions() -> Result<Vec<(String, f64)>> {
    let messages = Message::ALL.into_iter().filter(|it| it.size <= 4 << 10);
    let figures = count::instructions(&messages.collect::<Vec<_>>(), &[Contender::Ours])?;
    let named = figures.iter().map(|it| (it.message.name(), it.median()));
    Ok(named.collect())
}

/// Checks that the answer is right, also when the message is sent again.
fn check(message: Message, contender: Contender) -> Result<()> {
    let bytes = message.bytes()?;
    let mut answers = contender.answers(message);
    for _ in 0..2 {
        let answer = serde_json::from_slice(answers.answer(&bytes)?)?;
        ensure!(
            message.is_answered_by(&answer)?,
            "{} answers {} with {answer}",
            contender.label(),
            message.name()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_answers_every_message_right() {
        for message in Message::ALL {
            for contender in Contender::value_variants() {
                check(message, *contender).expect("a right answer");
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_detected() {
        for message in Message::ALL {
            let mut answers = Contender::Ours.answers(message);
            let answer = answers.answer(&message.bytes().expect("JSON"));
            let mut answer = serde_json::from_slice(answer.expect("an answer")).expect("JSON");
            assert!(message.is_answered_by(&answer).expect("JSON"));
            spoil(&mut answer["result"]);
            assert!(!message.is_answered_by(&answer).expect("JSON"));
        }
    }

    fn spoil(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => members.values_mut().last().map_or((), spoil),
            other => *other = serde_json::json!("spoilt"),
        }
    }
}
