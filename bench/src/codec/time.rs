//! Measures CPU time. In each round the contenders run one after the other, each time with a different contender first.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use super::answers::Answers;
use super::contender::Contender;
use super::figures::Figures;
use super::message::Message;
use crate::process::Used;

/// Returns the nanoseconds of CPU time per message.
pub(crate) fn measure(
    messages: &[Message],
    rounds: usize,
    milliseconds: u64,
) -> Result<Vec<Figures>> {
    let turn = Duration::from_millis(milliseconds);
    let mut figures = Vec::new();
    for message in messages {
        let bytes = message.bytes()?;
        let contenders = Contender::value_variants().iter();
        let mut competitors: Vec<_> = contenders
            .map(|one| Competitor::new(*message, *one))
            .collect();
        for round in 0..rounds {
            let first = round % competitors.len();
            let (last, first) = competitors.split_at_mut(first);
            for competitor in first.iter_mut().chain(last) {
                competitor.take_turn(&bytes, turn)?;
            }
        }
        figures.extend(competitors.into_iter().map(|competitor| competitor.figures));
    }
    Ok(figures)
}

struct Competitor {
    answers: Box<dyn Answers>,
    figures: Figures,
}

impl Competitor {
    fn new(message: Message, contender: Contender) -> Self {
        Self {
            answers: contender.answers(message),
            figures: Figures {
                message,
                contender,
                rounds: Vec::new(),
            },
        }
    }

    fn take_turn(&mut self, message: &[u8], turn: Duration) -> Result<()> {
        // Long enough that the cost of reading the clock does not matter.
        let stretch = 1 + 100_000 / message.len() as u64;
        // The previous contender has filled the caches and the branch predictors.
        self.answers.repeat(message, stretch)?;
        let (began, mut messages) = (Used::so_far().cpu, 0);
        let used = loop {
            self.answers.repeat(message, stretch)?;
            messages += stretch;
            let used = Used::so_far().cpu - began;
            if used >= turn {
                break used;
            }
        };
        let nanoseconds = used.as_nanos() as f64 / messages as f64;
        self.figures.rounds.push(nanoseconds);
        Ok(())
    }
}
