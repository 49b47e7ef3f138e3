//! The timeout of reads on a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timeout that runs only while the server waits. Its timer is reused.
#[derive(Debug, Default)]
pub(in crate::server) struct ReadTimeout {
    end: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ReadTimeout {
    /// Resolves when `limit` has passed since the first wait after the last [`renew`](Self::renew).
    pub(in crate::server) async fn elapsed(&mut self, limit: Duration) {
        poll_fn(|cx| self.poll(limit, cx)).await;
    }

    fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let end = match self.end {
            Some(end) => end,
            // A time beyond the range of the clock is never reached.
            None => match Instant::now().checked_add(limit) {
                Some(end) => *self.end.insert(end),
                None => return Poll::Pending,
            },
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        // A timer that was set for an earlier wait is reset only when it fires.
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// Restarts the timeout at the next wait.
    pub(in crate::server) fn renew(&mut self) {
        self.end = None;
    }
}
