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
    let job = Arc::new(Job(Mutex::new(JobState::Waiting(
        permit.and_then(PermitSlot::take),
    ))));
    let _abandon = AbandonOnDrop { job: &job, permit };
    let thread = tokio::task::spawn_blocking({
        let job = Arc::clone(&job);
        move || job.start(deadline).map(|permit| (permit, work()))
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

struct Job(Mutex<JobState>);

enum JobState {
    /// No thread has started it yet.
    Waiting(Option<Permit>),
    /// A thread runs it, or its call ended before a thread did.
    Taken,
}

impl Job {
    /// Takes the job for a thread, with its permit; `None` if it is no longer wanted.
    fn start(&self, deadline: Option<Instant>) -> Option<Option<Permit>> {
        let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
        if is_late { None } else { self.take() }
    }

    /// Takes the job and its permit, if it still waits.
    fn take(&self) -> Option<Option<Permit>> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, JobState::Taken) {
            JobState::Waiting(permit) => Some(permit),
            JobState::Taken => None,
        }
    }
}

/// Keeps a job that still waits from starting, and gives its permit back to the call.
struct AbandonOnDrop<'j> {
    job: &'j Job,
    permit: Option<&'j PermitSlot>,
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let (Some(permit), Some(slot)) = (self.job.take(), self.permit) {
            slot.put(permit);
        }
    }
}
