//! Stores the results of pairs that were compared, and the pairs that are being compared.

use std::collections::HashMap;

use super::limits::Object;
use super::problem::{Problem, Problems};
use super::side::Schema;

/// A pair to compare: of the sending side and of the receiving side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pair {
    Schemas(Schema, Schema),
    /// The properties of objects, each with the schema of additional properties.
    Objects((Object, Schema), (Object, Schema)),
}

/// The state of a pair.
enum Known {
    /// The pair is being compared, at this level. A type may contain itself; the inner pair is then assumed to fit.
    Asked(usize),
    Answered(Problems),
}

/// A pair that is being compared.
struct Asked {
    pair: Pair,
    is_taken_for_granted: bool,
    /// The lowest level whose pair was assumed to fit during this comparison.
    lowest: usize,
    /// The number of uncertain results before this comparison.
    uncertain: usize,
}

#[derive(Default)]
pub(super) struct Memory {
    known: HashMap<Pair, Known>,
    /// The pairs that are being compared, the outermost first.
    asked: Vec<Asked>,
    /// The pairs whose results hold only if the pairs that they assume to fit do fit.
    uncertain: Vec<Pair>,
}

impl Memory {
    /// Returns the result for a pair, if there is one.
    pub(super) fn answer(&mut self, pair: Pair) -> Option<Problems> {
        let level = match self.known.get(&pair)? {
            Known::Answered(problems) => return Some(problems.clone()),
            Known::Asked(level) => *level,
        };
        self.asked[level].is_taken_for_granted = true;
        self.lower(level);
        Some(Problems::default())
    }

    /// Records that the innermost pair depends on the result of this level.
    fn lower(&mut self, level: usize) {
        if let Some(innermost) = self.asked.last_mut() {
            innermost.lowest = innermost.lowest.min(level);
        }
    }

    /// Starts the comparison of a pair.
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

    /// Ends the comparison of the innermost pair.
    pub(super) fn learn(&mut self, problems: &Problems) {
        let Some(asked) = self.asked.pop() else {
            return;
        };
        let level = self.asked.len();
        if asked.is_taken_for_granted && !problems.is_empty() {
            // Pairs found to fit under the assumption may not fit. Pairs that do not fit remain so.
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
