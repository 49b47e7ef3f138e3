//! Limits the work of a comparison.

use std::cell::Cell;

use crate::document::Document;

/// The number of steps for any two documents, and for each value in them. Documents written by people take a few steps
/// for each value. Crafted ones could take hours: the number of pairs of schemas to compare can grow with the square of
/// the documents' size.
const STEPS: u64 = 1_000_000;
const STEPS_PER_VALUE: u64 = 16;

/// The remaining work of a comparison, in steps that take about the same time.
#[derive(Debug)]
pub(super) struct Fuel {
    taken: Cell<u64>,
    all: u64,
}

impl Fuel {
    pub(super) fn of(old: &Document, new: &Document) -> Self {
        let values = (old.json().size() + new.json().size()) as u64;
        Self {
            taken: Cell::new(0),
            all: STEPS + STEPS_PER_VALUE * values,
        }
    }

    pub(super) fn take(&self, steps: usize) {
        self.taken
            .set(self.taken.get().saturating_add(steps as u64));
    }

    pub(super) fn is_out(&self) -> bool {
        self.taken.get() >= self.all
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> u64 {
        self.taken.get().min(self.all)
    }
}
