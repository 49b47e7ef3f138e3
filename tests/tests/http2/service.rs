//! A service with each kind of method, and the service of its callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{Context, ErrorObject, rpc};
use tokio::sync::watch;

#[rpc]
pub(crate) trait Kinds {
    async fn add(&self, a: i64, b: i64) -> i64;

    async fn echo(&self, text: String) -> String;

    async fn fail(&self) -> Result<(), ErrorObject>;

    /// Returns the number, with metadata.
    async fn number(&self, cx: &Context, number: u64) -> u64;

    #[rpc(notification)]
    async fn note(&self, text: String);

    #[rpc(blocking)]
    fn block(&self, number: u64) -> u64;

    fn count(&self, to: u64) -> impl Stream<Item = u64>;

    /// Returns items of `size` bytes without end.
    fn flood(&self, size: usize) -> impl Stream<Item = String>;

    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64;

    fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64>;

    /// Never returns.
    async fn hang(&self);

    /// Returns the SHA-256 of the caller's certificate.
    async fn certificate(&self, cx: &Context) -> Option<Vec<u8>>;

    /// Returns how many calls of this method the connection has made.
    async fn visit(&self, cx: &Context) -> u64;

    /// Calls the caller.
    async fn ask(&self, cx: &Context, number: u64) -> Option<u64>;

    /// Makes a call of the caller that takes too long.
    async fn ask_in_vain(&self, cx: &Context) -> bool;

    /// Receives items of the caller.
    async fn ask_for_items(&self, cx: &Context, to: u64) -> Vec<u64>;
}

/// The service of a client.
#[rpc]
pub(crate) trait Home {
    async fn square(&self, number: u64) -> u64;

    async fn linger(&self);

    fn count_down(&self, from: u64) -> impl Stream<Item = u64>;
}

/// What tests see of the handlers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    /// The number of calls that hang, or produce items.
    pub(crate) running: Arc<watch::Sender<usize>>,
    pub(crate) produced: Arc<AtomicUsize>,
    pub(crate) notes: Arc<watch::Sender<Vec<String>>>,
}

/// A handler that runs.
struct Running(Arc<watch::Sender<usize>>);

impl Running {
    fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|running| *running += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[derive(Default)]
struct Visits(AtomicU64);

impl Kinds for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn echo(&self, text: String) -> String {
        text
    }

    async fn fail(&self) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(7, "no paper"))
    }

    async fn number(&self, cx: &Context, number: u64) -> u64 {
        cx.set_response_meta("number", &number.to_string()).unwrap();
        number
    }

    async fn note(&self, text: String) {
        self.notes.send_modify(|notes| notes.push(text));
    }

    fn block(&self, number: u64) -> u64 {
        number
    }

    fn count(&self, to: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=to)
    }

    fn flood(&self, size: usize) -> impl Stream<Item = String> {
        let running = Running::new(&self.running);
        stream::repeat_with(move || {
            let _ = &running;
            self.produced.fetch_add(1, Ordering::Relaxed);
            "x".repeat(size)
        })
    }

    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64 {
        let _running = Running::new(&self.running);
        numbers.fold(0, async |sum, number| sum + number).await
    }

    fn double(&self, numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
        numbers.map(|number| 2 * number)
    }

    async fn hang(&self) {
        let _running = Running::new(&self.running);
        std::future::pending().await
    }

    async fn certificate(&self, cx: &Context) -> Option<Vec<u8>> {
        let certificate = cx.peer_certificate()?;
        Some(certificate.sha256().to_vec())
    }

    async fn visit(&self, cx: &Context) -> u64 {
        let visits = cx.connection_extensions().get_or_default::<Visits>();
        visits.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn ask(&self, cx: &Context, number: u64) -> Option<u64> {
        cx.client::<HomeClient>().square(number).await.ok()
    }

    async fn ask_in_vain(&self, cx: &Context) -> bool {
        let limit = Duration::from_millis(100);
        let late = cx.client::<HomeClient>().linger().timeout(limit).await;
        matches!(late, Err(rpc_runtime::CallError::Timeout))
    }

    async fn ask_for_items(&self, cx: &Context, to: u64) -> Vec<u64> {
        let items = cx.client::<HomeClient>().count_down(to);
        items.map(Result::unwrap).collect().await
    }
}

/// What tests see of the handlers of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct House {
    pub(crate) lingering: Arc<watch::Sender<usize>>,
}

impl Home for House {
    async fn square(&self, number: u64) -> u64 {
        number * number
    }

    async fn linger(&self) {
        let _lingering = Running::new(&self.lingering);
        std::future::pending().await
    }

    fn count_down(&self, from: u64) -> impl Stream<Item = u64> {
        stream::iter((1..=from).rev())
    }
}
