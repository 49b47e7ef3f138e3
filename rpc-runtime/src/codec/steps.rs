//! Counts, in tests only, the steps of loops whose lengths a peer controls. The cost of a message must depend on its size
//! alone.

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a step.
#[inline(always)]
pub(crate) fn step() {
    add(1);
}

/// Counts `steps` steps.
#[inline(always)]
pub(crate) fn add(steps: usize) {
    #[cfg(test)]
    TAKEN.set(taken() + steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns the number of steps that this thread has counted.
#[cfg(test)]
pub(crate) fn taken() -> u64 {
    TAKEN.get()
}
