//! Detects idleness at no cost to the active path, so that idle buffers can be released.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// The time without activity after which the watch becomes idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Checks for activity periodically while there is some, and sets no timer while there is none.
#[derive(Debug, Default)]
pub(crate) struct IdleWatch {
    /// `true` if activity was recorded since the last check.
    is_active: AtomicBool,
    watch: Notify,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    GoesOn,
    Ended,
}

impl IdleWatch {
    /// Records activity.
    pub(crate) fn record_activity(&self) {
        // The flag is usually set already, and a load is cheaper than a swap.
        if !self.is_active.load(Ordering::Relaxed) && !self.is_active.swap(true, Ordering::Relaxed)
        {
            self.watch.notify_one();
        }
    }

    /// Resolves after each second of activity, and once it has ended.
    pub(crate) async fn next(&self) -> Activity {
        // The notification may be for activity that was seen already.
        while !self.is_active.swap(false, Ordering::Relaxed) {
            self.watch.notified().await;
        }
        sleep(IDLE_AFTER).await;
        match self.is_active.load(Ordering::Relaxed) {
            true => Activity::GoesOn,
            false => Activity::Ended,
        }
    }

    /// Resolves when activity has ended, once for each period of activity.
    pub(crate) async fn became_idle(&self) {
        while self.next().await == Activity::GoesOn {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_watch_resolves_once_per_activity() {
        let (idle, times_idle) = (
            Arc::new(IdleWatch::default()),
            Arc::new(AtomicUsize::new(0)),
        );
        tokio::spawn({
            let (idle, times_idle) = (Arc::clone(&idle), Arc::clone(&times_idle));
            async move {
                loop {
                    idle.became_idle().await;
                    times_idle.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let idled = || times_idle.load(Ordering::Relaxed);
        sleep(IDLE_AFTER * 100).await;
        assert_eq!(idled(), 0);
        for times in 1..=3 {
            for _ in 0..10 {
                idle.record_activity();
                sleep(IDLE_AFTER / 3).await;
                idle.record_activity();
                sleep(IDLE_AFTER / 2).await;
                assert_eq!(idled(), times - 1);
            }
            sleep(IDLE_AFTER * 100).await;
            assert_eq!(idled(), times);
        }
    }
}
