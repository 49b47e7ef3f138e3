//! Runs a blocking handler on a thread where it may block.
//!
//! A call counts against the limits until its thread has finished, for nothing can stop a thread from outside. A call that
//! is cancelled or past its deadline before its thread has started never starts.

use std::sync::Arc;

use tokio::time::Instant;

use crate::permit::{Permit, PermitSlot};
use crate::sync::{Mutex, lock};

/// Why a blocking handler did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// Its deadline passed before a thread was free.
    TimedOut,
    /// The runtime is shutting down.
    ShuttingDown,
}

/// Runs `work` on a thread of the runtime's pool, and takes the call's permit along.
///
/// # Cancel safety
/// If the future is dropped before the thread has started, `work` never runs and the permit stays with the call. If it is
/// dropped later, the permit is released when the thread has finished.
pub(crate) async fn run<T: Send + 'static>(
    permit: Option<&PermitSlot>,
    deadline: Option<Instant>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotRun> {
    let job = Arc::new(Job(Mutex::new(Some(Waiting {
        permit: permit.and_then(PermitSlot::take),
        work,
    }))));
    let _abandon = AbandonOnDrop { job: &job, permit };
    let thread = tokio::task::spawn_blocking({
        let job = Arc::clone(&job);
        move || job.start(deadline).map(|job| (job.permit, (job.work)()))
    });
    match thread.await {
        Ok(Some((held, result))) => {
            if let Some(slot) = permit {
                slot.put(held);
            }
            Ok(result)
        }
        Ok(None) => Err(NotRun::TimedOut),
        Err(_) => Err(NotRun::ShuttingDown),
    }
}

/// Work that waits for a thread; nothing, once a thread has taken it, or its call has ended before one did.
struct Job<F>(Mutex<Option<Waiting<F>>>);

struct Waiting<F> {
    permit: Option<Permit>,
    /// Dropped with the call, since the runtime's queue may keep the rest for long.
    work: F,
}

impl<F> Job<F> {
    /// Takes the work for a thread; `None` if it is no longer wanted.
    fn start(&self, deadline: Option<Instant>) -> Option<Waiting<F>> {
        let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_late { None } else { lock(&self.0).take() }
    }
}

/// Keeps work that still waits from starting, and gives its permit back to the call.
struct AbandonOnDrop<'j, F> {
    job: &'j Job<F>,
    permit: Option<&'j PermitSlot>,
}

impl<F> Drop for AbandonOnDrop<'_, F> {
    fn drop(&mut self) {
        let waiting = lock(&self.job.0).take();
        if let (Some(Waiting { permit, .. }), Some(slot)) = (waiting, self.permit) {
            slot.put(permit);
        }
    }
}
