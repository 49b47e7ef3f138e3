//! The phases of a shutdown, and the streams whose last replies are not acknowledged.

use std::task::{Context, Waker};
use std::time::Duration;

use crate::transport::Stopped;

/// Maximum time to close connections.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of a shutdown. [`Server::serve_with_shutdown`](crate::Server::serve_with_shutdown) and
/// [`ServerHandle::shutdown`](crate::ServerHandle::shutdown) take it, or only the time limit, a [`Duration`].
///
/// 1. The server is announced to be shutting down, for the time of [`announced_for`](Self::announced_for). `rpc.health`
///    returns `NOT_SERVING`, and the server accepts connections and serves calls as before. Readiness probes, load balancers
///    and registries send new clients elsewhere. Without this, a probe that opens a connection never reads `NOT_SERVING`,
///    because a server that drains accepts no connections.
/// 2. The server drains: calls that run finish, and new calls are rejected as not executed. Clients of this crate send them to
///    another server. They need no announcement.
/// 3. When the limit of [`within`](Self::within) has passed, the remaining calls are ended.
///
/// A supervisor that kills the process must wait for both times and three seconds more, in which connections and the socket
/// are closed (`terminationGracePeriodSeconds` in Kubernetes).
///
/// ```no_run
/// use std::time::Duration;
/// use rpc_runtime::{Identity, Server, Shutdown};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::from_pem_files("chain.pem", "key.pem")?).bind("0.0.0.0:4433")?;
/// let shutdown = Shutdown::within(Duration::from_secs(15)).announced_for(Duration::from_secs(10));
/// server.serve_with_shutdown(tokio::signal::ctrl_c(), shutdown).await;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    pub(super) announcement: Duration,
    pub(super) limit: Duration,
}

#[cfg(feature = "server")]
impl Shutdown {
    /// Sets the time that calls have to finish once the server drains. There is no announcement.
    pub fn within(limit: Duration) -> Self {
        Self {
            announcement: Duration::ZERO,
            limit,
        }
    }

    /// Sets the time for which the server is announced to be shutting down before it drains. It should be longer than the
    /// interval of the probes, times the number of failures after which they take effect.
    ///
    /// Another shutdown without an announcement ends this time, for example after a second signal.
    #[must_use]
    pub fn announced_for(mut self, time: Duration) -> Self {
        self.announcement = time;
        self
    }
}

#[cfg(feature = "server")]
impl From<Duration> for Shutdown {
    fn from(limit: Duration) -> Self {
        Self::within(limit)
    }
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
