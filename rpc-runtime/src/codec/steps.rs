//! Counts the steps of loops whose lengths a peer sets, in tests: what a message costs must depend on its size alone. Outside
//! of tests nothing is counted.

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts a step.
#[inline(always)]
pub(crate) fn step() {
    add(1);
}

/// Counts so many steps.
#[inline(always)]
pub(crate) fn add(steps: usize) {
    #[cfg(test)]
    TAKEN.set(taken() + steps as u64);
    #[cfg(not(test))]
    let _ = steps;
}

/// Returns how many steps this thread has taken.
#[cfg(test)]
pub(crate) fn taken() -> u64 {
    TAKEN.get()
}
