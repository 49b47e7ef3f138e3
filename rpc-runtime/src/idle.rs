//! Notices that nothing has happened for a while, at no cost to what happens: then what was kept for more can go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// How long it must be quiet.
const WHILE: Duration = Duration::from_secs(1);

/// Looks at the clock once in a while while something happens, and not at all while nothing does.
#[derive(Debug, Default)]
pub(crate) struct IdleWatch {
    /// Something has happened since the last look.
    broken: AtomicBool,
    watch: Notify,
}

impl IdleWatch {
    /// Something happens.
    pub(crate) fn disturb(&self) {
        // Mostly somebody has said so.
        if !self.broken.load(Ordering::Relaxed) && !self.broken.swap(true, Ordering::Relaxed) {
            self.watch.notify_one();
        }
    }

    /// Resolves when it is quiet again, once for each time that it was not.
    pub(crate) async fn returns(&self) {
        let mut was_broken = false;
        while !was_broken {
            self.watch.notified().await;
            while self.broken.swap(false, Ordering::Relaxed) {
                was_broken = true;
                sleep(WHILE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_returns_once_for_each_time_that_something_happened() {
        let (quiet, returns) = (
            Arc::new(IdleWatch::default()),
            Arc::new(AtomicUsize::new(0)),
        );
        tokio::spawn({
            let (quiet, returns) = (Arc::clone(&quiet), Arc::clone(&returns));
            async move {
                loop {
                    quiet.returns().await;
                    returns.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let returned = || returns.load(Ordering::Relaxed);
        sleep(WHILE * 100).await;
        assert_eq!(returned(), 0);
        for times in 1..=3 {
            for _ in 0..10 {
                quiet.disturb();
                sleep(WHILE / 3).await;
                quiet.disturb();
                sleep(WHILE / 2).await;
                assert_eq!(returned(), times - 1);
            }
            sleep(WHILE * 100).await;
            assert_eq!(returned(), times);
        }
    }
}
