//! The metadata of responses, from the handler or the middleware that sets it to the caller that reads it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{
    CallError, Client, Context, ErrorObject, Limits, MetadataError, RawService, ResponseMetadata,
    Service, code, rpc,
};
use serde_json::{Value, json};
use tests::message::{call, line};
use tests::support::{ANY_PORT, TestServer, serve, soon};
use tokio::sync::{Semaphore, mpsc};

#[rpc]
trait Desk {
    /// Returns the number and sets it as metadata.
    async fn number(&self, cx: &Context, number: u32) -> u32;
    async fn fail(&self, cx: &Context) -> Result<(), ErrorObject>;
    async fn panic(&self, cx: &Context);
    async fn hang(&self, cx: &Context);
    /// Returns a result that the caller cannot decode.
    async fn wrong(&self, cx: &Context) -> String;
    /// Sets metadata in a task of its own.
    async fn spawn(&self, cx: &Context);
    /// Returns a text of this size.
    async fn large(&self, cx: &Context, bytes: usize) -> String;
    #[rpc(blocking)]
    fn block(&self, cx: &Context, number: u32) -> u32;
    /// Sets metadata before the first item, and behind the last one.
    fn count(&self, cx: &Context, to: u32) -> impl Stream<Item = u32>;
    fn count_and_fail(&self, cx: &Context) -> impl Stream<Item = Result<u32, ErrorObject>>;
    async fn sum(&self, cx: &Context, items: impl Stream<Item = u32>) -> u32;
    /// Passes a copy of the context to the test.
    async fn leave(&self, cx: &Context);
    /// Calls the caller, and returns the metadata of the response.
    async fn ask(&self, cx: &Context, number: u32) -> Option<String>;
    #[rpc(notification)]
    async fn note(&self, cx: &Context);
    async fn nothing(&self);
}

#[derive(Clone)]
struct Clerk {
    left: mpsc::UnboundedSender<Context>,
    noted: Arc<Semaphore>,
}

fn set(cx: &Context, name: &str, value: impl ToString) {
    cx.set_response_meta(name, &value.to_string()).unwrap();
}

impl Desk for Clerk {
    async fn number(&self, cx: &Context, number: u32) -> u32 {
        set(cx, "number", "replaced");
        set(cx, "number", number);
        tokio::task::yield_now().await;
        number
    }

    async fn fail(&self, cx: &Context) -> Result<(), ErrorObject> {
        set(cx, "left", 0);
        Err(ErrorObject::new(7, "on purpose"))
    }

    async fn panic(&self, cx: &Context) {
        set(cx, "left", 0);
        panic!("on purpose")
    }

    async fn hang(&self, cx: &Context) {
        set(cx, "left", 0);
        std::future::pending().await
    }

    async fn wrong(&self, cx: &Context) -> String {
        set(cx, "left", 0);
        "no number".into()
    }

    async fn spawn(&self, cx: &Context) {
        let cx = cx.clone();
        let task = tokio::spawn(async move { set(&cx, "task", 1) });
        task.await.unwrap();
    }

    async fn large(&self, cx: &Context, bytes: usize) -> String {
        set(cx, "bytes", bytes);
        "x".repeat(bytes)
    }

    fn block(&self, cx: &Context, number: u32) -> u32 {
        set(cx, "number", number);
        number
    }

    fn count(&self, cx: &Context, to: u32) -> impl Stream<Item = u32> {
        set(cx, "to", to);
        stream::iter(0..to).chain(stream::poll_fn(move |_| {
            set(cx, "counted", to);
            None.into()
        }))
    }

    fn count_and_fail(&self, cx: &Context) -> impl Stream<Item = Result<u32, ErrorObject>> {
        set(cx, "left", 0);
        stream::iter([Ok(1), Err(ErrorObject::new(7, "on purpose"))])
    }

    async fn sum(&self, cx: &Context, items: impl Stream<Item = u32> + Send) -> u32 {
        let items: Vec<_> = items.collect().await;
        set(cx, "items", items.len());
        items.iter().sum()
    }

    async fn leave(&self, cx: &Context) {
        set(cx, "left", 1);
        self.left.send(cx.clone()).unwrap();
    }

    async fn ask(&self, cx: &Context, number: u32) -> Option<String> {
        let desk = DeskClient::new(cx.client());
        let (asked, metadata) = desk.number(number).with_response_metadata().await;
        assert_eq!(asked.unwrap(), number);
        metadata.get("number").map(Into::into)
    }

    async fn note(&self, cx: &Context) {
        set(cx, "left", 0);
        self.noted.add_permits(1);
    }

    async fn nothing(&self) {}
}

fn clerk() -> (DeskServer<Clerk>, mpsc::UnboundedReceiver<Context>) {
    let (left, receiver) = mpsc::unbounded_channel();
    let noted = Arc::new(Semaphore::new(0));
    (DeskServer::new(Clerk { left, noted }), receiver)
}

fn pairs(metadata: &ResponseMetadata) -> Vec<(&str, &str)> {
    metadata.iter().collect()
}

/// Runs a check with a client over QUIC, and with one in memory.
async fn everywhere<F: Future<Output = ()>>(check: impl Fn(DeskClient, Client) -> F) {
    let (client, _server) = serve(clerk().0, Limits::default()).await;
    for client in [client, Client::local(clerk().0)] {
        soon(check(DeskClient::new(client.clone()), client)).await;
    }
}

#[tokio::test]
async fn caller_receives_the_metadata_beside_the_result() {
    everywhere(async |desk, client| {
        let (number, metadata) = desk.number(7).with_response_metadata().await;
        assert_eq!(number.unwrap(), 7);
        assert_eq!(pairs(&metadata), [("number", "7")]);
        assert_eq!(metadata.get("number"), Some("7"));
        assert_eq!(metadata.get("other"), None);
        assert_eq!((metadata.len(), metadata.is_empty()), (1, false));
        assert_eq!(format!("{metadata:?}"), r#"{"number"}"#);

        // By name, and on a dedicated stream.
        let call = client.call::<u32, _>("number", &(8,)).dedicated_stream();
        let (number, metadata) = call.with_response_metadata().await;
        assert_eq!(
            (number.unwrap(), pairs(&metadata)),
            (8, vec![("number", "8")])
        );

        // A call that sets none has none, also if it uses the memory of another call.
        let ((), metadata) = unwrap(desk.nothing().with_response_metadata().await);
        assert!(metadata.is_empty(), "{metadata:?}");
        // A caller that reads none gets its result.
        assert_eq!(desk.number(9).await.unwrap(), 9);
    })
    .await;
}

fn unwrap<T, E: std::fmt::Debug>(
    (result, metadata): (Result<T, E>, ResponseMetadata),
) -> (T, ResponseMetadata) {
    (result.unwrap(), metadata)
}

#[tokio::test]
async fn caller_receives_the_metadata_beside_an_error() {
    everywhere(async |desk, client| {
        let (failed, metadata) = desk.fail().with_response_metadata().await;
        assert!(matches!(failed, Err(CallError::Application(error)) if error.code() == 7));
        assert_eq!(pairs(&metadata), [("left", "0")]);

        let (panicked, metadata) = desk.panic().with_response_metadata().await;
        assert_eq!(panicked.unwrap_err().code(), Some(code::INTERNAL_ERROR));
        assert_eq!(pairs(&metadata), [("left", "0")]);

        let wrong = client.call::<u32, _>("wrong", &());
        let (wrong, metadata) = wrong.with_response_metadata().await;
        assert!(matches!(wrong, Err(CallError::Decode(_))), "{wrong:?}");
        assert_eq!(pairs(&metadata), [("left", "0")]);

        // The server did not start the call.
        let unknown = client.call::<u32, _>("unknown", &());
        let (unknown, metadata) = unknown.with_response_metadata().await;
        assert_eq!(unknown.unwrap_err().code(), Some(code::METHOD_NOT_FOUND));
        assert!(metadata.is_empty(), "{metadata:?}");
    })
    .await;
}

#[tokio::test]
async fn call_without_a_reply_has_no_metadata() {
    everywhere(async |desk, client| {
        let late = desk.hang().timeout(Duration::from_millis(20));
        let (late, metadata) = late.with_response_metadata().await;
        assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
        // The server may have answered first.
        assert!(matches!(pairs(&metadata)[..], [] | [("left", "0")]));

        client.close().await;
        let (lost, metadata) = desk.number(7).with_response_metadata().await;
        assert!(
            matches!(lost, Err(CallError::Connection { .. })),
            "{lost:?}"
        );
        assert!(metadata.is_empty(), "{metadata:?}");
    })
    .await;
}

#[tokio::test]
async fn metadata_is_set_by_blocking_handlers_and_by_tasks() {
    everywhere(async |desk, _| {
        for number in 0..3 {
            let (blocked, metadata) = unwrap(desk.block(number).with_response_metadata().await);
            assert_eq!(blocked, number);
            assert_eq!(metadata.get("number"), Some(number.to_string().as_str()));
            let ((), metadata) = unwrap(desk.spawn().with_response_metadata().await);
            assert_eq!(pairs(&metadata), [("task", "1")]);
        }
    })
    .await;
}

#[tokio::test]
async fn stream_of_items_has_the_metadata_of_its_end() {
    everywhere(async |desk, _| {
        let mut counted = desk.count(3);
        assert!(counted.response_metadata().is_empty());
        for number in 0..3 {
            assert_eq!(counted.next().await.unwrap().unwrap(), number);
            assert!(counted.response_metadata().is_empty());
        }
        assert!(counted.next().await.is_none());
        let expected = [("to", "3"), ("counted", "3")];
        assert_eq!(pairs(counted.response_metadata()), expected);

        let mut failed = desk.count_and_fail();
        assert_eq!(failed.next().await.unwrap().unwrap(), 1);
        assert!(failed.next().await.unwrap().is_err());
        assert_eq!(pairs(failed.response_metadata()), [("left", "0")]);
    })
    .await;
}

#[tokio::test]
async fn upload_is_answered_with_metadata() {
    everywhere(async |desk, _| {
        let sum = desk.sum(stream::iter([1, 2, 3]));
        let (sum, metadata) = unwrap(sum.with_response_metadata().await);
        assert_eq!((sum, pairs(&metadata)), (6, vec![("items", "3")]));
    })
    .await;
}

#[tokio::test]
async fn each_entry_of_a_batch_has_its_own_metadata() {
    everywhere(async |desk, client| {
        let mut batch = client.batch();
        let seven = batch.call(desk.number(7));
        let failed = batch.call(desk.fail());
        let nothing = batch.call(desk.nothing());
        let blocked = batch.call(desk.block(8));
        batch.notify(desk.note()).unwrap();
        let mut replies = batch.send().await.unwrap();
        assert_eq!(pairs(replies.response_metadata(&seven)), [("number", "7")]);
        assert_eq!(pairs(replies.response_metadata(&failed)), [("left", "0")]);
        assert!(replies.response_metadata(&nothing).is_empty());
        assert_eq!(
            pairs(replies.response_metadata(&blocked)),
            [("number", "8")]
        );

        let mut other = client.batch();
        let of_other = other.call(desk.number(9));
        assert!(replies.response_metadata(&of_other).is_empty());
        assert_eq!(replies.take(seven).unwrap(), 7);
        assert!(replies.take(failed).is_err());
    })
    .await;
}

#[tokio::test]
async fn calls_of_the_server_are_answered_with_metadata() {
    let server = TestServer::start(clerk().0, Limits::default());
    let builder = server.client().service(clerk().0);
    let client = soon(builder.connect(server.address)).await.unwrap();
    let (local, _) = (Client::builder().service(clerk().0).local(clerk().0), ());
    for client in [client, local] {
        let desk = DeskClient::new(client);
        assert_eq!(soon(desk.ask(7)).await.unwrap().as_deref(), Some("7"));
    }
}

#[tokio::test]
async fn raw_service_answers_with_metadata() {
    let mut service = RawService::new(clerk().0);
    let mut answer = async |message: Value| {
        let answer = soon(service.respond(message.to_string().as_bytes())).await;
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(
        answer(call(1, "number", json!([7]))).await,
        r#"{"jsonrpc":"2.0","id":1,"result":7,"meta":{"number":"7"}}"#
    );
    assert_eq!(
        answer(call(2, "nothing", json!([]))).await,
        r#"{"jsonrpc":"2.0","id":2,"result":null}"#
    );
    assert_eq!(
        answer(json!([call(3, "number", json!([8]))])).await,
        r#"[{"jsonrpc":"2.0","id":3,"result":8,"meta":{"number":"8"}}]"#
    );
}

#[tokio::test]
async fn notification_has_no_metadata() {
    let (left, _receiver) = mpsc::unbounded_channel();
    let noted = Arc::new(Semaphore::new(0));
    let service = DeskServer::new(Clerk {
        left,
        noted: noted.clone(),
    });
    let (client, _server) = serve(service, Limits::default()).await;
    let desk = DeskClient::new(client);
    desk.note().await.unwrap();
    soon(noted.acquire()).await.unwrap().forget();
    // A call of the same stream has metadata of its own only.
    let ((), metadata) = unwrap(soon(desk.nothing().with_response_metadata()).await);
    assert!(metadata.is_empty(), "{metadata:?}");
}

#[tokio::test]
async fn concurrent_calls_have_their_own_metadata() {
    let (client, _server) = serve(clerk().0, Limits::default()).await;
    let desk = DeskClient::new(client);
    let calls = (0..200).map(|number| {
        let call = desk.number(number).with_response_metadata();
        tokio::spawn(async move { (number, unwrap(call.await)) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (number, (result, metadata)) = soon(call).await.unwrap();
        assert_eq!(result, number);
        assert_eq!(pairs(&metadata), [("number", number.to_string().as_str())]);
    }
}

#[tokio::test]
async fn metadata_set_after_the_reply_is_rejected() {
    let (service, mut contexts) = clerk();
    let (client, _server) = serve(service, Limits::default()).await;
    let desk = DeskClient::new(client);
    for _ in 0..3 {
        let ((), metadata) = unwrap(soon(desk.leave().with_response_metadata()).await);
        assert_eq!(pairs(&metadata), [("left", "1")]);
        let context = contexts.recv().await.unwrap();
        let set = context.set_response_meta("late", "1");
        assert_eq!(set, Err(MetadataError::AlreadyReplied));
        let (_, metadata) = unwrap(soon(desk.number(1).with_response_metadata()).await);
        assert_eq!(pairs(&metadata), [("number", "1")]);
    }
}

#[tokio::test]
async fn metadata_without_room_in_the_reply_is_left_out_and_the_result_arrives() {
    let limits = Limits {
        max_response_bytes: 1_000,
        ..Limits::default()
    };
    let (client, _server) = serve(clerk().0, limits).await;
    let desk = DeskClient::new(client);
    let head = line(json!({"jsonrpc": "2.0", "id": 0, "result": ""})).len() - 1;
    let (text, metadata) = unwrap(soon(desk.large(1_000 - head).with_response_metadata()).await);
    assert_eq!((text.len(), metadata.len()), (1_000 - head, 0));
    let (text, metadata) = unwrap(soon(desk.large(900).with_response_metadata()).await);
    assert_eq!(
        (text.len(), pairs(&metadata)),
        (900, vec![("bytes", "900")])
    );
    // An error that replaces the result has metadata.
    let (large, metadata) = soon(desk.large(1_000).with_response_metadata()).await;
    assert_eq!(large.unwrap_err().code(), Some(code::REPLY_TOO_LARGE));
    assert_eq!(pairs(&metadata), [("bytes", "1000")]);
}

/// Sets metadata before and after each call, and rejects calls without a user.
struct Stamp;

impl Middleware for Stamp {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let cx = call.context();
        set(cx, "version", "1.2");
        if cx.meta("user").is_none() {
            return Response::error(ErrorObject::new(401, "no user"));
        }
        let response = next.run().await;
        set(cx, "outcome", response.outcome().as_str());
        response
    }
}

#[tokio::test]
async fn middleware_sets_metadata_of_all_kinds_of_calls() {
    let service = Layered::new(Stamp, clerk().0);
    let server = TestServer::bind(|builder| builder.service(service).bind(ANY_PORT));
    let desk = DeskClient::new(server.connect().await);
    let call = desk.number(7).meta("user", "ada");
    let (_, metadata) = unwrap(soon(call.with_response_metadata()).await);
    let expected = [("version", "1.2"), ("number", "7"), ("outcome", "success")];
    assert_eq!(pairs(&metadata), expected);

    let call = desk.block(7).meta("user", "ada");
    let (_, metadata) = unwrap(soon(call.with_response_metadata()).await);
    assert_eq!(pairs(&metadata), expected);

    let mut counted = desk.count(2).meta("user", "ada");
    while let Some(number) = soon(counted.next()).await {
        number.unwrap();
    }
    let expected = [
        ("version", "1.2"),
        ("to", "2"),
        ("counted", "2"),
        ("outcome", "success"),
    ];
    assert_eq!(pairs(counted.response_metadata()), expected);

    let (rejected, metadata) = soon(desk.number(7).with_response_metadata()).await;
    assert!(rejected.is_err());
    assert_eq!(pairs(&metadata), [("version", "1.2")]);
}
