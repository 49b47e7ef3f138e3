//! A service, and calls of it.

use std::future::pending;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
use rpc_runtime::{Client, ClientBuilder, Context, ErrorObject, rpc};

#[rpc(namespace = "desk")]
pub(crate) trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Fails with this code, unless the call has metadata.
    async fn fail(&self, cx: &Context, code: i64) -> Result<(), ErrorObject>;
    async fn hang(&self);
    #[rpc(notification)]
    async fn note(&self);
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, items: impl Stream<Item = u32>) -> u32;
    async fn meta(&self, cx: &Context, name: &str) -> Option<String>;
}

pub(crate) struct Clerk;

impl Desk for Clerk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn fail(&self, cx: &Context, code: i64) -> Result<(), ErrorObject> {
        match cx.meta("again") {
            Some(_) => Ok(()),
            None => Err(ErrorObject::new(code, "no\nFORGED")),
        }
    }

    async fn hang(&self) {
        pending().await
    }

    async fn note(&self) {}

    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }

    async fn sum(&self, items: impl Stream<Item = u32>) -> u32 {
        items.fold(0, async |sum, item| sum + item).await
    }

    async fn meta(&self, cx: &Context, name: &str) -> Option<String> {
        cx.meta(name).map(str::to_owned)
    }
}

/// Sends a call again that has failed with 401.
pub(crate) struct Again;

impl ClientMiddleware for Again {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let response = next.run(request).await;
        if response.code() != Some(401) {
            return response;
        }
        request.set_meta("again", "");
        next.run(request).await
    }
}

/// Returns a client of the service in the same process.
pub(crate) fn local(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Client, DeskClient) {
    let client = build(Client::builder()).local(DeskServer::new(Clerk));
    (client.clone(), DeskClient::new(client))
}

/// The method, the outcome, the code and the number of attempts of each call of [`make_calls`].
pub(crate) const ENDS: [(&str, &str, &str, u32); 9] = [
    ("desk.add", "success", "", 1),
    ("desk.fail", "error", "7", 1),
    ("desk.fail", "success", "", 2),
    ("desk.note", "success", "", 1),
    ("desk.count", "success", "", 1),
    ("desk.sum", "success", "", 1),
    ("desk.hang", "cancelled", "-32001", 1),
    ("desk.hang", "timed_out", "-32002", 1),
    ("desk.add", "disconnected", "", 0),
];

/// Makes these calls one after the other. The middleware [`Again`] must be one of the client's.
pub(crate) async fn make_calls(client: Client, desk: DeskClient) {
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    desk.fail(7).await.unwrap_err();
    desk.fail(401).await.unwrap();
    desk.note().await.unwrap();
    assert_eq!(desk.count(3).count().await, 3);
    assert_eq!(desk.sum(stream::iter([1, 2])).await.unwrap(), 3);
    let mut hang = desk.hang();
    assert!(futures_util::poll!(&mut hang).is_pending());
    drop(hang);
    let short = std::time::Duration::from_millis(5);
    desk.hang().timeout(short).await.unwrap_err();
    client.close().await;
    desk.add(1, 2).await.unwrap_err();
}
