//! TimerPool that are used again, so that a time limit costs no allocation.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

/// How many timers are kept.
const POOLED: usize = 1024;

/// On the heap, so that calls can be moved.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// The runtime that it was made in, and works in.
    home: runtime::Id,
}

impl Timer {
    pub(super) fn end(&self) -> Instant {
        self.sleep.deadline()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

#[derive(Debug, Default)]
pub(super) struct TimerPool(Mutex<Vec<Timer>>);

impl TimerPool {
    /// A timer that ends after `timeout`.
    ///
    /// # Panics
    /// Outside a tokio runtime, and in one without timers.
    pub(super) fn start(&self, timeout: Duration) -> Timer {
        let home = Handle::current().id();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One of another runtime, which may be gone, is of no use to anybody here.
        let timer = kept.pop().filter(|timer| timer.home == home);
        drop(kept);
        match (timer, Instant::now().checked_add(timeout)) {
            (Some(mut timer), Some(end)) => {
                timer.sleep.as_mut().reset(end);
                timer
            }
            // Tokio makes the best of a time that no clock can tell.
            _ => Timer {
                sleep: Box::pin(sleep(timeout)),
                home,
            },
        }
    }

    /// Keeps none.
    pub(super) fn release_idle_buffers(&self) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(kept);
    }

    /// Takes a timer back, in the runtime that it was used in.
    pub(super) fn put_back(&self, mut timer: Timer) {
        // Whoever it would have woken is let go of.
        let mut idle = Context::from_waker(Waker::noop());
        let _ = pin!(unconstrained(timer.sleep.as_mut())).poll(&mut idle);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < POOLED {
            kept.push(timer);
        }
    }
}
