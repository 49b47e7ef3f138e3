//! A service whose calls end in every way.

pub(crate) mod capture;
pub(crate) mod recorder;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{Client, ErrorObject, Limits, Outcome, RawService, Service, code, rpc};
use tokio::sync::Semaphore;

#[rpc(namespace = "desk")]
pub(crate) trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    #[cfg(any())]
    async fn gone(&self, a: Nowhere);
    async fn fail(&self) -> Result<(), ErrorObject>;
    async fn hang(&self);
    async fn panic(&self);
    #[rpc(blocking)]
    fn panic_in_a_thread(&self);
    async fn long(&self) -> String;
    #[rpc(notification)]
    async fn note(&self);
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    fn count_and_fail(&self, to: u32) -> impl Stream<Item = Result<u32, ErrorObject>>;
    async fn sum(&self, items: impl Stream<Item = u32>) -> u32;
}

#[derive(Clone, Default)]
pub(crate) struct Clerk(Arc<Counts>);

struct Counts {
    hanging: Semaphore,
    dropped: Semaphore,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            hanging: Semaphore::new(0),
            dropped: Semaphore::new(0),
        }
    }
}

/// Reports that the future of a handler was dropped.
struct Hanging(Arc<Counts>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.dropped.add_permits(1);
    }
}

impl Clerk {
    /// Waits until another handler hangs.
    pub(crate) async fn hangs(&self) {
        soon(self.0.hanging.acquire()).await.unwrap().forget();
    }

    /// Waits until another hanging handler was dropped.
    pub(crate) async fn has_dropped(&self) {
        soon(self.0.dropped.acquire()).await.unwrap().forget();
    }

    async fn wait(&self) {
        let _hanging = Hanging(Arc::clone(&self.0));
        self.0.hanging.add_permits(1);
        std::future::pending().await
    }
}

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn fail(&self) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(7, "no"))
    }

    async fn hang(&self) {
        self.wait().await;
    }

    async fn panic(&self) {
        tokio::task::yield_now().await;
        panic!("on purpose");
    }

    fn panic_in_a_thread(&self) {
        panic!("on purpose");
    }

    async fn long(&self) -> String {
        "x".repeat(2_000)
    }

    async fn note(&self) {}

    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        // A stream of more than ten items hangs.
        stream::iter(0..to).then(async |number| {
            if number >= 10 {
                self.wait().await;
            }
            number
        })
    }

    fn count_and_fail(&self, to: u32) -> impl Stream<Item = Result<u32, ErrorObject>> {
        let error = Err(ErrorObject::new(7, "no more"));
        stream::iter(0..to).map(Ok).chain(stream::iter([error]))
    }

    async fn sum(&self, items: impl Stream<Item = u32> + Send) -> u32 {
        items.fold(0, async |sum, item| sum + item).await
    }
}

/// Returns the output of `future`, which must end within a limited time.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.expect("soon")
}

/// The method and the outcome of each call of [`make_calls`].
pub(crate) const ENDS: [(&str, Outcome); 18] = [
    ("desk.add", Outcome::Success),
    ("desk.add", Outcome::Error(code::INVALID_PARAMS)),
    ("desk.fail", Outcome::Error(7)),
    ("desk.hang", Outcome::TimedOut),
    ("desk.panic", Outcome::Panicked),
    ("desk.panic_in_a_thread", Outcome::Panicked),
    ("desk.long", Outcome::Error(code::REPLY_TOO_LARGE)),
    ("desk.note", Outcome::Success),
    // A call as a notification.
    ("desk.fail", Outcome::Error(7)),
    // A batch.
    ("desk.add", Outcome::Success),
    ("desk.fail", Outcome::Error(7)),
    ("desk.note", Outcome::Success),
    // Streams.
    ("desk.count", Outcome::Success),
    ("desk.count_and_fail", Outcome::Error(7)),
    ("desk.sum", Outcome::Success),
    ("desk.sum", Outcome::Error(code::INVALID_PARAMS)),
    ("desk.count", Outcome::Cancelled),
    ("desk.hang", Outcome::Cancelled),
];

/// Makes these calls one after the other.
pub(crate) async fn make_calls<S: Service>(layered: impl Fn(DeskServer<Clerk>) -> S) {
    let clerk = Clerk::default();
    let service = || layered(DeskServer::new(clerk.clone()));
    let limits = Limits {
        max_response_bytes: 1_000,
        ..Limits::default()
    };
    let mut responder = RawService::with_limits(service(), limits);
    for (message, answered) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.add","params":[1,2]}"#,
            r#""result":3"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.add","params":["a"]}"#,
            "-32602",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.fail"}"#,
            r#""code":7"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.hang","timeout":5}"#,
            "-32002",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.panic"}"#,
            "-32603",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"desk.panic_in_a_thread"}"#,
            "-32603",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"desk.long"}"#, "-32008"),
        (r#"{"jsonrpc":"2.0","method":"desk.note"}"#, ""),
        (r#"{"jsonrpc":"2.0","method":"desk.fail"}"#, ""),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"desk.add","params":[1,2]},
                {"jsonrpc":"2.0","id":2,"method":"desk.fail"},
                {"jsonrpc":"2.0","method":"desk.note"}]"#,
            r#""code":7"#,
        ),
    ] {
        let answer = soon(responder.respond(message.as_bytes())).await;
        let answer = std::str::from_utf8(answer).unwrap();
        assert!(answer.contains(answered), "{message}: {answer}");
        assert_eq!(
            answer.is_empty(),
            answered.is_empty(),
            "{message}: {answer}"
        );
    }
    clerk.hangs().await;
    clerk.has_dropped().await;

    let client = Client::local(service());
    let desk = DeskClient::new(client.clone());
    assert_eq!(soon(desk.count(3).count()).await, 3);
    let counted: Vec<_> = soon(desk.count_and_fail(2).collect()).await;
    assert!(matches!(counted[..], [Ok(0), Ok(1), Err(_)]), "{counted:?}");
    assert_eq!(soon(desk.sum(stream::iter([1, 2, 3]))).await.unwrap(), 6);
    let words = client.call::<u32, _>("desk.sum", &());
    soon(words.upload(stream::iter(["a"]))).await.unwrap_err();
    let mut endless = desk.count(100);
    assert_eq!(soon(endless.next()).await.unwrap().unwrap(), 0);
    clerk.hangs().await;
    drop(endless);
    clerk.has_dropped().await;
    let hanging = tokio::spawn(desk.hang().into_future());
    clerk.hangs().await;
    hanging.abort();
    clerk.has_dropped().await;
}
