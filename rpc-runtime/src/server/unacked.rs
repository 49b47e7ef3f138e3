//! Streams that are over while their last replies may still be on their way.

use std::task::{Context, Waker};

use crate::transport::Stopped;

/// So many are kept before anybody looks whether they have left.
const KEPT: usize = 16;

/// A connection that is closed takes with it what has not arrived: whoever closes it in peace waits for these.
#[derive(Default)]
pub(super) struct UnackedStreams {
    streams: Vec<Stopped>,
    /// How many still were on their way when somebody looked last.
    slow: usize,
}

impl UnackedStreams {
    /// To look at all of them costs; done each time that they have doubled, it costs each stream the same.
    pub(super) fn push(&mut self, stream: Stopped) {
        if self.streams.len() >= KEPT.max(2 * self.slow) {
            self.forget_the_gone();
        }
        self.streams.push(stream);
    }

    /// Keeps only those that are still on their way.
    pub(super) fn rest(&mut self) {
        self.forget_the_gone();
        self.streams.shrink_to_fit();
    }

    fn forget_the_gone(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.streams
            .retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        self.slow = self.streams.len();
    }

    /// All that may not have arrived.
    pub(super) fn take(&mut self) -> Vec<Stopped> {
        self.slow = 0;
        std::mem::take(&mut self.streams)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Poll;

    use super::*;

    #[test]
    fn those_that_have_left_are_not_kept() {
        let mut leaving = UnackedStreams::default();
        for _ in 0..1000 {
            leaving.push(Box::pin(std::future::ready(())));
            assert!(leaving.streams.len() <= KEPT);
        }
    }

    #[test]
    fn those_that_are_slow_are_all_kept() {
        let mut leaving = UnackedStreams::default();
        let has_arrived = Arc::new(AtomicBool::new(false));
        for number in 0..1000 {
            let has_arrived = Arc::clone(&has_arrived);
            leaving.push(Box::pin(std::future::poll_fn(move |_| {
                match number % 2 == 0 || has_arrived.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = leaving.take();
        left.retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        assert_eq!(left.len(), 500);
        has_arrived.store(true, Ordering::Relaxed);
        left.retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        assert!(left.is_empty());
    }
}
