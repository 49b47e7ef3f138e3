//! Compares one figure in two situations, which are measured in turn.

use std::fmt;

use crate::figures::{Ratio, median};
use crate::table::short;

pub(crate) struct Comparison {
    pub(crate) figure: &'static str,
    /// The figure in both situations, round by round.
    pub(crate) rounds: Vec<(f64, f64)>,
    pub(crate) aim: Option<Aim>,
}

/// The target for the ratio of the second figure to the first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    fn is_reached(self, ratio: &Ratio) -> bool {
        match self {
            Self::AtLeast(least) => ratio.median >= least,
            Self::AtMost(most) => ratio.median <= most,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least:.2}×"),
            Self::AtMost(most) => write!(f, "at most {most:.2}×"),
        }
    }
}

/// Returns a table with a row for each figure.
pub(crate) fn table(first: &str, second: &str, comparisons: &[Comparison]) -> String {
    let rows: String = comparisons.iter().map(Comparison::row).collect();
    format!(
        "\
| | {first} | {second} | ratio (min–max) | aim | |
|---|--:|--:|---|---|---|
{rows}"
    )
}

impl Comparison {
    fn row(&self) -> String {
        let (first, second) = (self.median(|round| round.0), self.median(|round| round.1));
        let ratios = self.rounds.iter().map(|(first, second)| second / first);
        let Some(ratio) = Ratio::of_rounds(ratios) else {
            return format!("| {} | – | – | – | | |\n", self.figure);
        };
        let (aim, verdict) = match self.aim {
            Some(aim) if aim.is_reached(&ratio) => (aim.to_string(), "reached"),
            Some(aim) => (aim.to_string(), "**not reached**"),
            None => (String::new(), ""),
        };
        format!(
            "| {} | {} | {} | {ratio} | {aim} | {verdict} |\n",
            self.figure,
            short(first),
            short(second),
        )
    }

    fn median(&self, figure: fn(&(f64, f64)) -> f64) -> f64 {
        median(self.rounds.iter().map(figure)).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::{Aim, Comparison};

    #[test]
    fn ratios_are_taken_within_a_round() {
        let comparison = |aim| Comparison {
            figure: "calls/s",
            rounds: vec![(100.0, 50.0), (10.0, 10.0), (1.0, 3.0)],
            aim: Some(aim),
        };
        assert_eq!(
            comparison(Aim::AtLeast(1.0)).row(),
            "| calls/s | 10.0 | 10.0 | 1.00× (0.50–3.00) | at least 1.00× | reached |\n"
        );
        assert!(comparison(Aim::AtLeast(1.1)).row().contains("not reached"));
        assert!(!comparison(Aim::AtMost(1.1)).row().contains("not reached"));
        assert!(comparison(Aim::AtMost(0.9)).row().contains("not reached"));
    }
}
