//! What is known of pairs that were compared, and of those that are being compared.

use std::collections::HashMap;

use super::limits::Object;
use super::problem::{Problem, Problems};
use super::side::Schema;

/// Two that are compared: of the side that sends, and of the side that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pair {
    Schemas(Schema, Schema),
    /// The properties of objects, each with the schema of what has no name.
    Objects((Object, Schema), (Object, Schema)),
}

/// What is known of a pair.
enum Known {
    /// It is being compared, at this level. Types may contain themselves: then it is taken for granted that they fit.
    Asked(usize),
    Answered(Problems),
}

/// A pair that is being compared.
struct Asked {
    pair: Pair,
    is_taken_for_granted: bool,
    /// The lowest level at which a pair was taken for granted in it.
    lowest: usize,
    /// How many answers were uncertain before.
    uncertain: usize,
}

#[derive(Default)]
pub(super) struct Memory {
    known: HashMap<Pair, Known>,
    /// What is being compared, from the outermost on.
    asked: Vec<Asked>,
    /// Pairs whose answers hold if those that were taken for granted in them fit.
    uncertain: Vec<Pair>,
}

impl Memory {
    /// The answer for a pair, if there is one.
    pub(super) fn answer(&mut self, pair: Pair) -> Option<Problems> {
        let level = match self.known.get(&pair)? {
            Known::Answered(problems) => return Some(problems.clone()),
            Known::Asked(level) => *level,
        };
        self.asked[level].is_taken_for_granted = true;
        self.lower(level);
        Some(Problems::default())
    }

    /// The innermost pair depends on what is found at this level.
    fn lower(&mut self, level: usize) {
        if let Some(innermost) = self.asked.last_mut() {
            innermost.lowest = innermost.lowest.min(level);
        }
    }

    /// A pair is compared from here on.
    pub(super) fn ask(&mut self, pair: Pair) {
        let level = self.asked.len();
        self.known.insert(pair, Known::Asked(level));
        self.asked.push(Asked {
            pair,
            is_taken_for_granted: false,
            lowest: level,
            uncertain: self.uncertain.len(),
        });
    }

    /// The innermost pair was compared.
    pub(super) fn learn(&mut self, problems: &Problems) {
        let Some(asked) = self.asked.pop() else {
            return;
        };
        let level = self.asked.len();
        if asked.is_taken_for_granted && !problems.is_empty() {
            // What was found to fit meanwhile may not. What does not fit, does not all the more.
            for pair in self.uncertain.drain(asked.uncertain..) {
                if let Some(Known::Answered(problems)) = self.known.get(&pair)
                    && !problems.iter().any(Problem::is_breaking)
                {
                    self.known.remove(&pair);
                }
            }
        }
        if asked.lowest < level {
            self.uncertain.push(asked.pair);
            self.lower(asked.lowest);
        } else {
            self.uncertain.truncate(asked.uncertain);
        }
        self.known
            .insert(asked.pair, Known::Answered(problems.clone()));
    }
}
