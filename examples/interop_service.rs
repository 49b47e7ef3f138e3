//! The service that clients in other languages are tested against.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, ErrorObject, rpc};
use serde_json::Value;

/// The largest blob. It is well past the server's limit for replies, so that clients see that one too.
const MOST: usize = 64 << 20;

#[rpc]
pub(crate) trait Interop {
    /// The first minus the second, as in the examples of the JSON-RPC specification.
    async fn subtract(&self, minuend: i64, subtrahend: i64) -> i64;
    /// The sum of all parameters.
    async fn sum(&self, #[rpc(params)] values: Vec<i64>) -> i64;
    /// A notification; `notified` counts it.
    #[rpc(notification)]
    async fn update(&self, #[rpc(params)] values: Vec<i64>);
    /// A notification; `notified` counts it.
    #[rpc(notification)]
    async fn notify_hello(&self, #[rpc(params)] values: Vec<i64>);
    /// A notification; `notified` counts it.
    #[rpc(notification)]
    async fn notify_sum(&self, #[rpc(params)] values: Vec<i64>);
    /// How many notifications arrived.
    async fn notified(&self) -> u64;
    /// `["hello", 5]`
    async fn get_data(&self) -> (String, u32);
    /// Any JSON, and the same back.
    async fn echo(&self, value: Value) -> Value;
    /// The length of `text` in bytes, its escapes resolved.
    async fn length(&self, text: &str) -> usize;
    /// All three; a missing one comes back as null.
    async fn optional(
        &self,
        a: u32,
        b: Option<u32>,
        c: Option<u32>,
    ) -> (u32, Option<u32>, Option<u32>);
    /// Takes its time, and says how much.
    async fn sleep(&self, ms: u64) -> u64;
    /// Fails as it is told to.
    async fn fail(&self, code: i64, message: &str, data: Option<Value>) -> Result<(), ErrorObject>;
    /// Panics.
    async fn panic(&self);
    /// A string of `size` bytes.
    async fn blob(&self, size: usize) -> Result<String, ErrorObject>;
    /// Calls a method of the caller's, and says what came of it.
    async fn ask(&self, cx: &Context, method: &str, params: Value) -> Result<Value, ErrorObject>;
    /// From 1 up: to `to`, and on for ever if there is none.
    fn count(&self, to: Option<u64>) -> impl Stream<Item = u64>;
    /// So many items, and then an error.
    fn fail_after(&self, items: u64) -> impl Stream<Item = Result<u64, ErrorObject>>;
    /// The sum of all items.
    async fn total(&self, items: impl Stream<Item = i64>) -> i64;
    /// The first item; it reads no further.
    async fn first(&self, items: impl Stream<Item = i64>) -> Option<i64>;
    /// A greeting for each name.
    fn greet(
        &self,
        greeting: &str,
        names: impl Stream<Item = String>,
    ) -> impl Stream<Item = String>;
}

/// Counts notifications; all else needs no state.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    notified: AtomicU64,
}

impl Desk {
    fn notice(&self) {
        self.notified.fetch_add(1, Ordering::Relaxed);
    }
}

impl Interop for Desk {
    async fn subtract(&self, minuend: i64, subtrahend: i64) -> i64 {
        minuend - subtrahend
    }

    async fn sum(&self, values: Vec<i64>) -> i64 {
        values.into_iter().sum()
    }

    async fn update(&self, _: Vec<i64>) {
        self.notice();
    }

    async fn notify_hello(&self, _: Vec<i64>) {
        self.notice();
    }

    async fn notify_sum(&self, _: Vec<i64>) {
        self.notice();
    }

    async fn notified(&self) -> u64 {
        self.notified.load(Ordering::Relaxed)
    }

    async fn get_data(&self) -> (String, u32) {
        ("hello".into(), 5)
    }

    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn length(&self, text: &str) -> usize {
        text.len()
    }

    async fn optional(
        &self,
        a: u32,
        b: Option<u32>,
        c: Option<u32>,
    ) -> (u32, Option<u32>, Option<u32>) {
        (a, b, c)
    }

    async fn sleep(&self, ms: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        ms
    }

    async fn fail(&self, code: i64, message: &str, data: Option<Value>) -> Result<(), ErrorObject> {
        let error = ErrorObject::new(code, message.to_owned());
        Err(match data {
            Some(data) => error.with_data(&data),
            None => error,
        })
    }

    async fn panic(&self) {
        panic!("as it was told to");
    }

    async fn blob(&self, size: usize) -> Result<String, ErrorObject> {
        match size {
            0..=MOST => Ok("x".repeat(size)),
            _ => Err(ErrorObject::new(1, format!("at most {MOST} bytes"))),
        }
    }

    async fn ask(&self, cx: &Context, method: &str, params: Value) -> Result<Value, ErrorObject> {
        let asked = cx.client::<Client>().call(method, &params).await;
        asked.map_err(|error| match error {
            CallError::Application(error) | CallError::Remote(error) => error,
            error => ErrorObject::new(1, error.to_string()),
        })
    }

    fn count(&self, to: Option<u64>) -> impl Stream<Item = u64> {
        stream::iter(1..=to.unwrap_or(u64::MAX))
    }

    fn fail_after(&self, items: u64) -> impl Stream<Item = Result<u64, ErrorObject>> {
        let failure = Err(ErrorObject::new(1, "as it was told to"));
        stream::iter(0..items)
            .map(Ok)
            .chain(stream::iter([failure]))
    }

    async fn total(&self, items: impl Stream<Item = i64> + Send) -> i64 {
        items.fold(0, async |sum, item| sum + item).await
    }

    async fn first(&self, mut items: impl Stream<Item = i64> + Send + Unpin) -> Option<i64> {
        items.next().await
    }

    fn greet(
        &self,
        greeting: &str,
        names: impl Stream<Item = String>,
    ) -> impl Stream<Item = String> {
        names.map(move |name| format!("{greeting}, {name}"))
    }
}
