//! A service whose methods have items.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Limits, rpc};
use tokio::sync::watch;

use crate::support::serve_set;

#[rpc]
pub(crate) trait Items {
    /// Returns the numbers from 1 to `to`.
    fn count(&self, to: u64) -> impl Stream<Item = u64>;

    /// Returns an item, and no further one.
    fn hang(&self) -> impl Stream<Item = u64>;

    /// Returns items of `size` bytes without end.
    fn flood(&self, size: usize) -> impl Stream<Item = String>;

    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64;

    /// Takes one item, and returns it.
    async fn first(&self, numbers: impl Stream<Item = u64> + Unpin) -> Option<u64>;

    /// Takes no item before it is told so.
    async fn wait_to_sum(&self, texts: impl Stream<Item = String>) -> usize;

    fn greet(
        &self,
        greeting: &str,
        names: impl Stream<Item = String>,
    ) -> impl Stream<Item = String>;

    async fn echo(&self, text: String) -> String;

    /// Waits until it may return.
    async fn gate(&self);

    /// Never returns.
    async fn sleep(&self);
}

/// What tests see of the handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    running: Arc<watch::Sender<usize>>,
    pub(crate) produced: Arc<AtomicUsize>,
    /// `true` once `wait_to_sum` may take items, and `gate` may return.
    pub(crate) opened: Arc<watch::Sender<bool>>,
}

impl Watched {
    fn enter(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(Arc::clone(&self.running))
    }

    async fn is_opened(&self) {
        let mut opened = self.opened.subscribe();
        let _ = opened.wait_for(|opened| *opened).await;
    }

    /// Waits until so many handlers run.
    pub(crate) async fn runs(&self, count: usize) {
        let mut running = self.running.subscribe();
        let reached = running.wait_for(|running| *running == count);
        crate::stream_client::soon(reached, "the handlers to start or end")
            .await
            .unwrap();
    }
}

/// A handler that runs.
struct Running(Arc<watch::Sender<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(pub(crate) Watched);

impl Items for Shelf {
    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    fn hang(&self) -> impl Stream<Item = u64> {
        let running = self.0.enter();
        stream::iter([1])
            .chain(stream::pending())
            .inspect(move |_| {
                let _ = &running;
            })
    }

    fn flood(&self, size: usize) -> impl Stream<Item = String> {
        let running = self.0.enter();
        stream::repeat_with(move || {
            let _ = &running;
            self.0.produced.fetch_add(1, Ordering::Relaxed);
            "x".repeat(size)
        })
    }

    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64 {
        numbers.fold(0, async |sum, number| sum + number).await
    }

    async fn first(&self, mut numbers: impl Stream<Item = u64> + Unpin) -> Option<u64> {
        numbers.next().await
    }

    async fn wait_to_sum(&self, texts: impl Stream<Item = String>) -> usize {
        let _running = self.0.enter();
        self.0.is_opened().await;
        texts
            .fold(0, async |sum, text: String| sum + text.len())
            .await
    }

    fn greet(
        &self,
        greeting: &str,
        names: impl Stream<Item = String>,
    ) -> impl Stream<Item = String> {
        names.map(move |name| format!("{greeting}, {name}"))
    }

    async fn echo(&self, text: String) -> String {
        text
    }

    async fn gate(&self) {
        self.0.is_opened().await;
    }

    async fn sleep(&self) {
        let _running = self.0.enter();
        std::future::pending().await
    }
}

/// Starts a server, and returns its address.
pub(crate) async fn serve_items() -> (SocketAddr, Watched) {
    serve_items_with(Limits::default()).await
}

pub(crate) async fn serve_items_with(limits: Limits) -> (SocketAddr, Watched) {
    let (_, address, watched) = start(limits).await;
    (address, watched)
}

/// Starts a server, and returns its services and its address.
pub(crate) async fn start(limits: Limits) -> (ServiceSet, SocketAddr, Watched) {
    let shelf = Shelf::default();
    let services = ServiceSet::builder()
        .service(ItemsServer::new(shelf.clone()))
        .limits(limits)
        .build()
        .unwrap();
    let address = serve_set(services.clone()).await;
    (services, address, shelf.0)
}
