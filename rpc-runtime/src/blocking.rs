//! Runs a blocking handler on a thread of the runtime's blocking pool.
//!
//! A call counts towards the limits until its thread has finished, because a thread cannot be stopped from outside. A call
//! that is cancelled or past its deadline before its thread has started never starts.

use std::sync::Arc;

use tokio::time::Instant;

use crate::permit::{Permit, PermitSlot};
use crate::sync::{Mutex, lock};

/// The reason why a blocking handler did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// The deadline passed before a thread was free.
    TimedOut,
    /// The runtime is shutting down.
    ShuttingDown,
}

/// Runs `work` on a thread of the runtime's blocking pool, which takes the call's permit.
///
/// # Cancel safety
/// If the future is dropped before the thread has started, `work` never runs and the permit stays with the call. If the
/// future is dropped later, the permit is released when the thread has finished.
pub(crate) async fn run<T: Send + 'static>(
    permit: Option<&PermitSlot>,
    deadline: Option<Instant>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotRun> {
    let job = Arc::new(Job(Mutex::new(Some(Waiting {
        permit: permit.and_then(PermitSlot::take),
        work,
    }))));
    let _cancel = CancelJobOnDrop { job: &job, permit };
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

/// Work that waits for a thread. `None` once a thread has taken it, or once its call has ended first.
struct Job<F>(Mutex<Option<Waiting<F>>>);

struct Waiting<F> {
    permit: Option<Permit>,
    /// Dropped with the call, since the runtime's queue may keep the rest of the job for a long time.
    work: F,
}

impl<F> Job<F> {
    /// Takes the work for a thread. Returns `None` if the deadline has passed or the call has ended.
    fn start(&self, deadline: Option<Instant>) -> Option<Waiting<F>> {
        let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_late { None } else { lock(&self.0).take() }
    }
}

/// Prevents waiting work from starting when it is dropped, and returns the permit to the call.
struct CancelJobOnDrop<'j, F> {
    job: &'j Job<F>,
    permit: Option<&'j PermitSlot>,
}

impl<F> Drop for CancelJobOnDrop<'_, F> {
    fn drop(&mut self) {
        let waiting = lock(&self.job.0).take();
        if let (Some(Waiting { permit, .. }), Some(slot)) = (waiting, self.permit) {
            slot.put(permit);
        }
    }
}
