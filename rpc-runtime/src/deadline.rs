//! The deadline that calls inherit from the handler that makes them.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    /// The deadline of the handler that is being polled on this thread.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the deadline that a call made here and now inherits.
pub(crate) fn inherited() -> Option<Instant> {
    DEADLINE.get()
}

/// Runs `run`; calls made meanwhile inherit `deadline`, or the earlier one that is inherited already.
pub(crate) fn with<T>(deadline: Instant, run: impl FnOnce() -> T) -> T {
    let outer = DEADLINE.get();
    let _restore = Restore(outer);
    DEADLINE.set(Some(outer.map_or(deadline, |outer| outer.min(deadline))));
    run()
}

/// Restores the deadline that was inherited before, also when the handler panics.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}
