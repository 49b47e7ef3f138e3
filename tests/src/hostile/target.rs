//! The service under attack.

use std::time::Duration;

use futures_util::{Stream, stream};
use rpc_runtime::rpc;
use tokio::time::sleep;

/// Methods that an attack can abuse.
#[rpc]
pub trait Target {
    /// Returns the sum.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Returns a string of `size` bytes.
    async fn blob(&self, size: usize) -> String;
    /// Returns a string as `blob` does, after some milliseconds.
    async fn late_blob(&self, millis: u64, size: usize) -> String;
    /// Returns its argument after some milliseconds.
    async fn echo(&self, millis: u64, text: &str) -> String;
    /// Never returns.
    async fn hang(&self);
    /// Never returns, and keeps its argument.
    async fn count(&self, numbers: Vec<u64>);
    /// Panics, without a message.
    async fn panic(&self);
    /// Never sends an item.
    fn news(&self) -> impl Stream<Item = u8>;
    /// Sends items of this size without end.
    fn endless(&self, size: usize) -> impl Stream<Item = String>;
    /// Never takes an item.
    async fn pile(&self, items: impl Stream<Item = String>);
}

/// The handlers of [`Target`].
#[derive(Debug)]
pub struct TargetService;

impl Target for TargetService {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn blob(&self, size: usize) -> String {
        "x".repeat(size)
    }

    async fn late_blob(&self, millis: u64, size: usize) -> String {
        sleep(Duration::from_millis(millis)).await;
        "x".repeat(size)
    }

    async fn echo(&self, millis: u64, text: &str) -> String {
        sleep(Duration::from_millis(millis)).await;
        text.to_owned()
    }

    async fn hang(&self) {
        std::future::pending().await
    }

    async fn count(&self, numbers: Vec<u64>) {
        std::future::pending::<()>().await;
        drop(numbers);
    }

    async fn panic(&self) {
        std::panic::resume_unwind(Box::new("on purpose"))
    }

    fn news(&self) -> impl Stream<Item = u8> {
        stream::pending()
    }

    fn endless(&self, size: usize) -> impl Stream<Item = String> {
        stream::repeat_with(move || "x".repeat(size))
    }

    async fn pile(&self, items: impl Stream<Item = String>) {
        std::future::pending::<()>().await;
        drop(items);
    }
}
