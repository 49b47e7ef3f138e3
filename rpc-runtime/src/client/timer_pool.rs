//! Timers that calls reuse, so that a timeout allocates nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::task::{coop, unconstrained};
use tokio::time::{Instant, Sleep, sleep};

use crate::sync::{self, Mutex};

/// Maximum number of timers that are kept for reuse.
const POOLED: usize = 1024;

/// A timer on the heap, so that a call with a timer can be moved.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// The runtime that drives it.
    runtime: runtime::Id,
}

impl Timer {
    pub(super) fn remaining(&self) -> Duration {
        let deadline = self.sleep.deadline();
        deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match coop::has_budget_remaining() {
            true => self.sleep.as_mut().poll(cx),
            // A call that uses up the budget of its task each time ends nevertheless.
            false => pin!(unconstrained(self.sleep.as_mut())).poll(cx),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct TimerPool(Mutex<Vec<Timer>>);

impl TimerPool {
    /// Starts a timer that ends after `timeout`.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and in a runtime without timers.
    pub(super) fn start(&self, timeout: Duration) -> Timer {
        let runtime = Handle::current().id();
        // A timer belongs to its runtime, which may have been shut down, and does not end in another runtime.
        let pooled = sync::lock(&self.0).pop();
        let pooled = pooled.filter(|timer| timer.runtime == runtime);
        match (pooled, Instant::now().checked_add(timeout)) {
            (Some(mut timer), Some(deadline)) => {
                timer.sleep.as_mut().reset(deadline);
                timer
            }
            // If the end of the timeout is not a valid instant, tokio chooses an end in the far future.
            _ => Timer {
                sleep: Box::pin(sleep(timeout)),
                runtime,
            },
        }
    }

    /// Returns a timer to the pool, in the runtime in which it was started.
    pub(super) fn put_back(&self, mut timer: Timer) {
        // Drops the waker of the task that waited.
        let mut idle = Context::from_waker(Waker::noop());
        let _ = pin!(unconstrained(timer.sleep.as_mut())).poll(&mut idle);
        let mut pool = sync::lock(&self.0);
        if pool.len() < POOLED {
            pool.push(timer);
        }
    }

    /// Waits for `future`, for at most `timeout`. Returns `None` if the time is over first.
    pub(super) async fn limit<F: Future>(
        &self,
        timeout: Option<Duration>,
        future: F,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut timer = timeout.map(|timeout| self.start(timeout));
        let output = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => poll_timer(&mut timer, cx).map(|()| None),
        })
        .await;
        timer.into_iter().for_each(|timer| self.put_back(timer));
        output
    }

    /// Drops all timers.
    pub(super) fn clear(&self) {
        let pool = std::mem::take(&mut *sync::lock(&self.0));
        drop(pool);
    }
}

/// Resolves when the time is over; never without a timer.
pub(super) fn poll_timer(timer: &mut Option<Timer>, cx: &mut Context<'_>) -> Poll<()> {
    match timer {
        Some(timer) => timer.poll(cx),
        None => Poll::Pending,
    }
}
