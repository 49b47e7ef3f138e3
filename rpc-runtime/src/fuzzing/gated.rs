//! A service whose handlers wait until a gate opens.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::client::{Client, ResponseMetadata};
use crate::context::Context;
use crate::rpc;

/// The time for which a handler waits that does not wait for the gate.
pub(super) const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum number of bytes, and of items, that a handler returns.
const MOST_BYTES: usize = 40_000;
const MOST_ITEMS: u32 = 200;

#[rpc(crate = crate)]
pub(super) trait Gated {
    async fn echo(&self, text: String) -> String;
    async fn wait(&self, text: &str) -> usize;
    async fn hold(&self, numbers: Vec<u64>) -> usize;
    async fn stay(&self, text: &str);
    async fn large(&self, bytes: usize) -> String;
    async fn take(&self, items: impl Stream<Item = String>) -> usize;
    async fn take_slowly(&self, items: impl Stream<Item = String>) -> usize;
    fn give(&self, count: u32, bytes: usize) -> impl Stream<Item = String>;
    fn mirror(&self, items: impl Stream<Item = String>) -> impl Stream<Item = String>;
    async fn ask(&self, cx: &Context, text: &str) -> usize;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

/// The gate for which the handlers of a [`GatedService`] wait, and the number of running handlers.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_open: AtomicBool,
    opened: Notify,
    running: AtomicUsize,
    asked: AtomicUsize,
}

struct RunningHandler<'g>(&'g Gate);

impl Drop for RunningHandler<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    fn enter(&self) -> RunningHandler<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        RunningHandler(self)
    }

    /// Waits for the gate.
    pub(super) async fn passed(&self) {
        if !self.is_open.load(Ordering::Relaxed) {
            self.opened.notified().await;
        }
    }

    /// Returns the number of running handlers.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Returns the number of handlers that have called their callers.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Releases one waiting handler, or all of them.
    pub(super) fn release(&self, all: bool) {
        match all {
            true => self.opened.notify_waiters(),
            false => self.opened.notify_one(),
        }
    }

    /// Opens or closes the gate, and releases all waiting handlers. Further handlers pass while the gate is open.
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
        self.opened.notify_waiters();
        // Drops a stored notification, which would release one handler later.
        let _ = self.opened.notified().now_or_never();
    }
}

pub(super) struct GatedService(pub(super) Arc<Gate>);

impl Gated for GatedService {
    async fn echo(&self, text: String) -> String {
        text
    }

    async fn wait(&self, text: &str) -> usize {
        let _running = self.0.enter();
        self.0.passed().await;
        text.len()
    }

    async fn hold(&self, numbers: Vec<u64>) -> usize {
        let _running = self.0.enter();
        self.0.passed().await;
        numbers.len()
    }

    async fn stay(&self, _: &str) {
        let _running = self.0.enter();
        sleep(LONG).await;
    }

    async fn large(&self, bytes: usize) -> String {
        "x".repeat(bytes.min(MOST_BYTES))
    }

    async fn take(&self, items: impl Stream<Item = String> + Send) -> usize {
        let _running = self.0.enter();
        let (mut items, mut bytes) = (pin!(items), 0);
        while let Some(item) = poll_fn(|cx| items.as_mut().poll_next(cx)).await {
            bytes += item.len();
        }
        bytes
    }

    async fn take_slowly(&self, items: impl Stream<Item = String> + Send) -> usize {
        let _running = self.0.enter();
        let (mut items, mut bytes) = (pin!(items), 0);
        while let Some(item) = poll_fn(|cx| items.as_mut().poll_next(cx)).await {
            self.0.passed().await;
            bytes += item.len();
        }
        bytes
    }

    fn give(&self, count: u32, bytes: usize) -> impl Stream<Item = String> + Send {
        Given {
            left: count.min(MOST_ITEMS),
            bytes: bytes.min(MOST_BYTES),
            _running: self.0.enter(),
        }
    }

    fn mirror(
        &self,
        items: impl Stream<Item = String> + Send,
    ) -> impl Stream<Item = String> + Send {
        items
    }

    async fn ask(&self, cx: &Context, text: &str) -> usize {
        let _running = self.0.enter();
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let is_set = cx.set_response_meta("asked", text).is_ok();
        let client = cx.client::<Client>();
        let call = client.call::<String, _>("answer", &(text,));
        let (answer, metadata) = call.with_response_metadata().await;
        // The call may have been cancelled meanwhile, but it has no reply yet.
        assert!(is_set || text.len() > 8_000 || text.contains('\n'));
        check(&metadata);
        answer.map_or(0, |answer| answer.len())
    }

    async fn note(&self, _: &str) {
        let _running = self.0.enter();
        self.0.passed().await;
    }
}

/// Checks that the metadata of a response is within its limits.
pub(super) fn check(metadata: &ResponseMetadata) {
    let bytes = metadata
        .iter()
        .map(|(name, value)| name.len() + value.len());
    assert!(bytes.sum::<usize>() <= 8 << 10 && metadata.len() <= 64);
}

/// A stream of `left` items of `bytes` bytes each.
struct Given<'g> {
    left: u32,
    bytes: usize,
    _running: RunningHandler<'g>,
}

impl Stream for Given<'_> {
    type Item = String;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<String>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some("x".repeat(self.bytes)))
    }
}
