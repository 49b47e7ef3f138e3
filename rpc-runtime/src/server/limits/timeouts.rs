//! How long a stream may keep its server waiting.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A clock that is wound up only while somebody waits, and whose timer is used again.
#[derive(Debug, Default)]
pub(in crate::server) struct ReadTimeout {
    end: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl ReadTimeout {
    /// Resolves when this and the waits before it, back to the last [`renew`](Self::renew), took `limit` together.
    pub(in crate::server) async fn elapsed(&mut self, limit: Duration) {
        poll_fn(|cx| self.poll(limit, cx)).await;
    }

    fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let end = match self.end {
            Some(end) => end,
            // Later than any clock can tell is never.
            None => match Instant::now().checked_add(limit) {
                Some(end) => *self.end.insert(end),
                None => return Poll::Pending,
            },
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        // One that was set for an earlier wait is set anew only when it rings.
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }

    /// What was waited for has come.
    pub(in crate::server) fn renew(&mut self) {
        self.end = None;
    }
}
