//! Computes medians and ratios from rounds.

use super::contender::Contender;
use super::message::Message;
use crate::figures::{Ratio, median};

/// The cost of one message for one contender, in each round.
pub(crate) struct Figures {
    pub(crate) message: Message,
    pub(crate) contender: Contender,
    pub(crate) rounds: Vec<f64>,
}

impl Figures {
    pub(crate) fn median(&self) -> f64 {
        median(self.rounds.iter().copied()).unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn most(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the ratio of these figures to those of `other`, round by round.
    pub(crate) fn ratio(&self, other: &Self) -> Ratio {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratios = Self {
            message: self.message,
            contender: self.contender,
            rounds: rounds.map(|(this, other)| this / other).collect(),
        };
        Ratio {
            median: ratios.median(),
            least: ratios.least(),
            most: ratios.most(),
        }
    }
}
