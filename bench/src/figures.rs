//! Computes figures from runs.

use crate::contender::Contender;
use crate::load::{Outcome, RuntimeKind};
use crate::matrix::{Cell, Run, Runs};

/// The medians of the rounds of one contender in one cell, on the runtime with the higher rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) runtime: RuntimeKind,
    pub(crate) median: Outcome,
    pub(crate) allocations: Option<(f64, f64)>,
}

/// The ratio of two figures: the median of the rounds, the least and the most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Ratio {
    pub(crate) fn of_rounds(ratios: impl Iterator<Item = f64>) -> Option<Self> {
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        Some(Self {
            median: median(ratios.iter().copied())?,
            least: *ratios.first()?,
            most: *ratios.last()?,
        })
    }
}

impl Runs {
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<_> = self.timed.iter().map(|run| run.cell).collect();
        cells.sort();
        cells.dedup();
        cells
    }

    pub(crate) fn contenders(&self, cell: Cell) -> Vec<Contender> {
        let mut contenders: Vec<_> = self.of_cell(cell).map(|run| run.contender).collect();
        contenders.sort();
        contenders.dedup();
        contenders
    }

    /// Returns the median of the calls per second on one runtime.
    pub(crate) fn rate(
        &self,
        cell: Cell,
        contender: Contender,
        runtime: RuntimeKind,
    ) -> Option<f64> {
        median(
            self.rounds(cell, contender, runtime)
                .map(|outcome| outcome.calls_per_second),
        )
    }

    pub(crate) fn figures(&self, cell: Cell, contender: Contender) -> Option<Figures> {
        let runtime = self.better_runtime(cell, contender)?;
        let field = |field: fn(&Outcome) -> f64| {
            median(self.rounds(cell, contender, runtime).map(field)).unwrap_or(f64::NAN)
        };
        let counted = self
            .counted
            .iter()
            .find(|run| run.cell == cell && run.contender == contender);
        Some(Figures {
            runtime,
            median: Outcome {
                calls: field(|outcome| outcome.calls as f64) as u64,
                calls_per_second: field(|outcome| outcome.calls_per_second),
                p50: field(|outcome| outcome.p50),
                p99: field(|outcome| outcome.p99),
                client_cpu: field(|outcome| outcome.client_cpu),
                server_cpu: field(|outcome| outcome.server_cpu),
                client_allocations: 0.0,
                server_allocations: 0.0,
                others: field(|outcome| outcome.others),
            },
            allocations: counted.map(|run| {
                (
                    run.outcome.client_allocations,
                    run.outcome.server_allocations,
                )
            }),
        })
    }

    /// Returns the ratio of this framework's figure to the peer's, round by round, each on its better runtime.
    pub(crate) fn ratio(
        &self,
        cell: Cell,
        peer: Contender,
        figure: fn(&Outcome) -> f64,
    ) -> Option<Ratio> {
        self.ratio_of((Contender::Ours, peer), cell, figure)
    }

    /// Returns the ratio of a contender's figure to the peer's, round by round, each on its better runtime.
    pub(crate) fn ratio_of(
        &self,
        (contender, peer): (Contender, Contender),
        cell: Cell,
        figure: fn(&Outcome) -> f64,
    ) -> Option<Ratio> {
        let ours = self.better_runtime(cell, contender)?;
        let theirs = self.better_runtime(cell, peer)?;
        let ratios = self.of_cell(cell).filter_map(|run| {
            let is_ours = run.contender == contender && run.runtime == ours;
            let same_round = |other: &&Run| {
                other.round == run.round && other.contender == peer && other.runtime == theirs
            };
            let other = self.of_cell(cell).find(same_round).filter(|_| is_ours)?;
            Some(figure(&run.outcome) / figure(&other.outcome))
        });
        Ratio::of_rounds(ratios)
    }

    /// Returns the share of the machine that other processes took, in the median run and in the worst.
    pub(crate) fn noise(&self) -> Option<(f64, f64)> {
        let others = || self.timed.iter().map(|run| run.outcome.others);
        Some((median(others())?, others().max_by(f64::total_cmp)?))
    }

    fn better_runtime(&self, cell: Cell, contender: Contender) -> Option<RuntimeKind> {
        let rates = RuntimeKind::ALL
            .into_iter()
            .filter_map(|runtime| Some((runtime, self.rate(cell, contender, runtime)?)));
        rates
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(runtime, _)| runtime)
    }

    fn of_cell(&self, cell: Cell) -> impl Iterator<Item = &Run> {
        self.timed.iter().filter(move |run| run.cell == cell)
    }

    fn rounds(
        &self,
        cell: Cell,
        contender: Contender,
        runtime: RuntimeKind,
    ) -> impl Iterator<Item = &Outcome> {
        self.of_cell(cell)
            .filter(move |run| run.contender == contender && run.runtime == runtime)
            .map(|run| &run.outcome)
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    match values.len() % 2 {
        0 => Some((values[middle] + values[middle + 1]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
