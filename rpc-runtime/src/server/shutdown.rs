//! The phases of a shutdown, and the streams whose last replies are not acknowledged.

use std::task::{Context, Waker};
use std::time::Duration;

use crate::transport::Stopped;

/// Maximum time to close connections.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The phases of a server.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Serving,
    /// Running calls may finish; new calls are rejected.
    Draining,
    /// Streams of items are ended.
    Ending,
}

/// Number of streams that are kept before the first check.
const MIN_UNCHECKED: usize = 16;

/// Streams with replies that are not acknowledged. Closing a connection discards these replies, so a graceful close waits
/// for them.
#[derive(Default)]
pub(super) struct UnackedStreams {
    streams: Vec<Stopped>,
    /// Number of streams that were unacknowledged at the last check.
    unacked_at_last_check: usize,
}

impl UnackedStreams {
    /// Adds a stream. All streams are checked whenever their number has doubled, so the cost for each stream is constant.
    pub(super) fn push(&mut self, stream: Stopped) {
        if self.streams.len() >= MIN_UNCHECKED.max(2 * self.unacked_at_last_check) {
            self.remove_acked();
        }
        self.streams.push(stream);
    }

    /// Removes streams whose replies are acknowledged, and releases their memory.
    pub(super) fn release_idle_buffers(&mut self) {
        self.remove_acked();
        self.streams.shrink_to_fit();
    }

    fn remove_acked(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.streams
            .retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        self.unacked_at_last_check = self.streams.len();
    }

    /// Removes and returns all streams that may have unacknowledged replies.
    pub(super) fn take(&mut self) -> Vec<Stopped> {
        self.unacked_at_last_check = 0;
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
    fn acked_streams_are_removed() {
        let mut streams = UnackedStreams::default();
        for _ in 0..1000 {
            streams.push(Box::pin(std::future::ready(())));
            assert!(streams.streams.len() <= MIN_UNCHECKED);
        }
    }

    #[test]
    fn unacked_streams_are_kept() {
        let mut streams = UnackedStreams::default();
        let has_arrived = Arc::new(AtomicBool::new(false));
        for number in 0..1000 {
            let has_arrived = Arc::clone(&has_arrived);
            streams.push(Box::pin(std::future::poll_fn(move |_| {
                match number % 2 == 0 || has_arrived.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })));
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut left = streams.take();
        left.retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        assert_eq!(left.len(), 500);
        has_arrived.store(true, Ordering::Relaxed);
        left.retain_mut(|stream| stream.as_mut().poll(&mut cx).is_pending());
        assert!(left.is_empty());
    }
}
