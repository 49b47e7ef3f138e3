//! The deadline that calls inherit from the handler that makes them.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    /// The deadline of the handler that is being polled on this thread.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Returns the deadline that a call inherits if it is made now in this task.
pub(crate) fn inherited() -> Option<Instant> {
    DEADLINE.get()
}

/// Runs `run`. Calls made by it inherit `deadline`, or an earlier deadline that is already inherited.
pub(crate) fn with<T>(deadline: Instant, run: impl FnOnce() -> T) -> T {
    let outer = DEADLINE.get();
    let _restore = Restore(outer);
    DEADLINE.set(Some(outer.map_or(deadline, |outer| outer.min(deadline))));
    run()
}

/// Restores the previously inherited deadline, even if the handler panics.
struct Restore(Option<Instant>);

impl Drop for Restore {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}
