//! The service that clients in other languages are tested against.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, ErrorObject, rpc};
use serde_json::Value;

/// The maximum size of a blob, in bytes. It is well above the server's limit for replies, so that clients see that error,
/// too.
const MOST: usize = 64 << 20;

#[rpc]
pub(crate) trait Interop {
    /// Returns the first number minus the second, as in the examples of the JSON-RPC specification.
    async fn subtract(&self, minuend: i64, subtrahend: i64) -> i64;
    /// Returns the sum of all parameters.
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
    /// Returns the number of notifications that arrived.
    async fn notified(&self) -> u64;
    /// Returns `["hello", 5]`.
    async fn get_data(&self) -> (String, u32);
    /// Returns its argument, which can be any JSON.
    async fn echo(&self, value: Value) -> Value;
    /// Returns the length of `text` in bytes, with its escapes decoded.
    async fn length(&self, text: &str) -> usize;
    /// Returns all three arguments. A missing argument is returned as null.
    async fn optional(
        &self,
        a: u32,
        b: Option<u32>,
        c: Option<u32>,
    ) -> (u32, Option<u32>, Option<u32>);
    /// Sleeps for `ms` milliseconds, and returns `ms`.
    async fn sleep(&self, ms: u64) -> u64;
    /// Fails with this code, message and data.
    async fn fail(&self, code: i64, message: &str, data: Option<Value>) -> Result<(), ErrorObject>;
    /// Panics.
    async fn panic(&self);
    /// Returns a string of `size` bytes.
    async fn blob(&self, size: usize) -> Result<String, ErrorObject>;
    /// Calls a method of the client, and returns its result or error.
    async fn ask(&self, cx: &Context, method: &str, params: Value) -> Result<Value, ErrorObject>;
    /// Counts from 1 to `to`, or without end if `to` is missing.
    fn count(&self, to: Option<u64>) -> impl Stream<Item = u64>;
    /// Sends `items` items, and then an error.
    fn fail_after(&self, items: u64) -> impl Stream<Item = Result<u64, ErrorObject>>;
    /// Returns the sum of all items.
    async fn total(&self, items: impl Stream<Item = i64>) -> i64;
    /// Returns the first item, and reads no further.
    async fn first(&self, items: impl Stream<Item = i64>) -> Option<i64>;
    /// Sends a greeting for each name.
    fn greet(
        &self,
        greeting: &str,
        names: impl Stream<Item = String>,
    ) -> impl Stream<Item = String>;
}

/// The service. Its only state is the number of notifications.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    notified: AtomicU64,
}

impl Desk {
    fn count_notification(&self) {
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
        self.count_notification();
    }

    async fn notify_hello(&self, _: Vec<i64>) {
        self.count_notification();
    }

    async fn notify_sum(&self, _: Vec<i64>) {
        self.count_notification();
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
