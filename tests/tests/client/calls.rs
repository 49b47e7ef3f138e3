//! Calls, notifications and batches from the view of the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_runtime::{
    CallError, Client, ConnectionError, Context, ErrorObject, Execution, Limits, RpcError, code,
    rpc,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tests::support::{DEADLINE, TestServer, serve, soon};
use tokio::sync::{Notify, Semaphore};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn echo(&self, text: &str) -> String;
    async fn repeat(&self, text: &str, times: usize) -> String;
    async fn buy(&self, item: &str) -> Result<u32, BuyError>;
    async fn refuse(&self, code: i64) -> Result<(), ErrorObject>;
    async fn hang(&self);
    async fn meta(&self, cx: &Context, name: &str) -> Option<String>;
    async fn remaining(&self, cx: &Context) -> Option<u128>;
    #[rpc(notification)]
    async fn note(&self, text: &str);
    async fn numbers(&self) -> Vec<f64>;
    async fn next_note(&self);
}

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum BuyError {
    #[error("sold out")]
    #[rpc(code = 1)]
    SoldOut,
    #[error("{item} costs {price}")]
    #[rpc(code = 2)]
    TooDear { item: String, price: u32 },
    #[error("not {0}")]
    #[rpc(code = 3)]
    NotThat(String),
    #[error("{0} or {1}")]
    #[rpc(code = 4)]
    Either(String, u32),
}

/// Counts of the events in handlers.
#[derive(Default)]
struct Counts {
    hanging: AtomicUsize,
    hung: Semaphore0,
    dropped: Semaphore0,
    notes: AtomicUsize,
    noted: Notify,
}

/// A semaphore without permits, which counts events that a test waits for.
struct Semaphore0(Semaphore);

impl Default for Semaphore0 {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Semaphore0 {
    fn happened(&self) {
        self.0.add_permits(1);
    }

    async fn wait(&self, times: u32) {
        soon(self.0.acquire_many(times)).await.unwrap().forget();
    }
}

#[derive(Clone, Default)]
struct Shop(Arc<Counts>);

/// Reports that the future of a handler was dropped.
struct Hanging(Arc<Counts>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.happened();
    }
}

impl Desk for Shop {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn repeat(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }

    async fn buy(&self, item: &str) -> Result<u32, BuyError> {
        match item {
            "nothing" => Err(BuyError::SoldOut),
            "car" => Err(BuyError::TooDear {
                item: item.into(),
                price: 20_000,
            }),
            "moon" => Err(BuyError::NotThat("the \"moon\"".into())),
            "fish" => Err(BuyError::Either("fish".into(), 7)),
            _ => Ok(1),
        }
    }

    async fn refuse(&self, code: i64) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(code, "no").with_data(&[1, 2]))
    }

    async fn hang(&self) {
        let _hanging = Hanging(Arc::clone(&self.0));
        self.0.hanging.fetch_add(1, Ordering::SeqCst);
        self.0.hung.happened();
        std::future::pending().await
    }

    async fn meta(&self, cx: &Context, name: &str) -> Option<String> {
        cx.meta(name).map(Into::into)
    }

    async fn remaining(&self, cx: &Context) -> Option<u128> {
        cx.remaining().map(|remaining| remaining.as_millis())
    }

    async fn note(&self, _: &str) {
        self.0.notes.fetch_add(1, Ordering::SeqCst);
        self.0.noted.notify_one();
    }

    async fn numbers(&self) -> Vec<f64> {
        vec![1.0, f64::NAN]
    }

    async fn next_note(&self) {
        self.0.noted.notified().await;
    }
}

async fn shop() -> (DeskClient, Client, Arc<Counts>) {
    let shop = Shop::default();
    let (client, _) = serve(DeskServer::new(shop.clone()), limits()).await;
    (DeskClient::new(client.clone()), client, shop.0)
}

/// Limits that a client can exceed by nesting.
fn limits() -> Limits {
    Limits {
        max_depth: 64,
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_get_their_own_results() {
    let (desk, ..) = shop().await;
    let calls = (0..5000).map(|n| tokio::spawn(desk.add(n, 1)));
    let calls: Vec<_> = calls.collect();
    for (n, call) in (0..).zip(calls) {
        assert_eq!(soon(call).await.unwrap().unwrap(), n + 1);
    }
}

#[tokio::test]
async fn arguments_with_any_characters_arrive_unchanged() {
    let (desk, ..) = shop().await;
    for text in [
        "",
        "plain",
        "\"\\\u{8}\u{c}\n\r\t\0\u{1f}",
        "é € 𝄞 \u{2028}",
        "</script>",
    ] {
        assert_eq!(desk.echo(text).await.unwrap(), text);
    }
}

#[tokio::test]
async fn typed_errors_arrive_as_the_handler_returned_them() {
    let (desk, ..) = shop().await;
    let error = async |item| match desk.buy(item).await {
        Err(CallError::Application(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(error("nothing").await, BuyError::SoldOut);
    assert_eq!(
        error("car").await,
        BuyError::TooDear {
            item: "car".into(),
            price: 20_000
        }
    );
    assert_eq!(
        error("moon").await,
        BuyError::NotThat("the \"moon\"".into())
    );
    assert_eq!(error("fish").await, BuyError::Either("fish".into(), 7));
    assert_eq!(desk.buy("bread").await.unwrap(), 1);
}

#[tokio::test]
async fn error_object_arrives_with_its_data() {
    let (desk, ..) = shop().await;
    match desk.refuse(77).await {
        Err(CallError::Application(error)) => {
            assert_eq!((error.code(), error.message()), (77, "no"));
            assert_eq!(error.data::<Vec<u8>>(), Some(vec![1, 2]));
        }
        other => panic!("{other:?}"),
    }
}

#[rpc]
trait NewerDesk {
    async fn buy(&self, item: &str) -> Result<u32, NewerError>;
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("newer")]
#[rpc(code = 1)]
struct NewerError {
    needed: String,
}

#[tokio::test]
async fn unknown_application_error_arrives_as_an_error_object() {
    let (_, client, _) = shop().await;
    let desk = NewerDeskClient::new(client);
    let unknown_code = desk.buy("car").await;
    assert!(matches!(unknown_code, Err(CallError::Remote(error)) if error.code() == 2));
    let unknown_data = desk.buy("nothing").await;
    assert!(matches!(unknown_data, Err(CallError::Remote(error)) if error.code() == 1));
}

#[tokio::test]
async fn protocol_error_is_no_application_error() {
    let (_, client, _) = shop().await;
    let error = client.call::<i64, _>("absent", &()).await.unwrap_err();
    assert!(matches!(&error, CallError::Remote(e) if e.code() == code::METHOD_NOT_FOUND));
    let error = client.call::<i64, _>("add", &("x", 1)).await.unwrap_err();
    match error {
        CallError::Remote(error) => {
            assert_eq!(error.code(), code::INVALID_PARAMS);
            let reason = error.data::<String>().unwrap();
            assert!(
                reason.starts_with("argument `a`: invalid type: string \"x\""),
                "{reason}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn untyped_calls_need_no_trait() {
    let (_, client, counts) = shop().await;
    #[derive(serde::Serialize)]
    struct Sum {
        b: i64,
        a: i64,
    }
    assert_eq!(client.call::<i64, _>("add", &(1, 2)).await.unwrap(), 3);
    assert_eq!(
        client
            .call::<i64, _>("add", &Sum { b: 40, a: 2 })
            .await
            .unwrap(),
        42
    );
    assert_eq!(client.call::<(), _>("rpc.ping", &()).await.unwrap(), ());
    client.notify("note", &["text"]).await.unwrap();
    soon(counts.noted.notified()).await;
    let scalar = client.call::<i64, _>("add", &1).await.unwrap_err();
    assert!(matches!(scalar, CallError::Encode(_)), "{scalar:?}");
}

#[tokio::test]
async fn dropped_call_drops_its_own_handler_only() {
    let (desk, _, counts) = shop().await;
    let kept = tokio::spawn(desk.hang());
    let cancelled = tokio::spawn(desk.hang());
    counts.hung.wait(2).await;
    cancelled.abort();
    counts.dropped.wait(1).await;
    assert_eq!(counts.hanging.load(Ordering::SeqCst), 1);
    assert!(!kept.is_finished());
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn dropped_call_on_a_dedicated_stream_drops_its_handler() {
    let (desk, _, counts) = shop().await;
    let cancelled = tokio::spawn(desk.hang().dedicated_stream());
    counts.hung.wait(1).await;
    cancelled.abort();
    counts.dropped.wait(1).await;
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn call_that_is_never_polled_is_never_sent() {
    let (desk, _, counts) = shop().await;
    drop(desk.hang());
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert_eq!(counts.hanging.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn cancellation_reaches_a_server_at_its_limit_of_calls() {
    let shop = Shop::default();
    let limits = Limits {
        max_concurrent_calls_per_connection: 2,
        ..Limits::default()
    };
    let (client, _) = serve(DeskServer::new(shop.clone()), limits).await;
    let (desk, counts) = (DeskClient::new(client), shop.0);
    let running = [tokio::spawn(desk.hang()), tokio::spawn(desk.hang())];
    counts.hung.wait(2).await;
    // These requests wait behind the two running calls, and their cancellations wait behind them.
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(desk.hang())).collect();
    tokio::task::yield_now().await;
    for call in running.iter().chain(&waiting) {
        call.abort();
    }
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn timeout_ends_the_call_on_both_ends() {
    let (desk, _, counts) = shop().await;
    let late = desk.hang().timeout(DEADLINE).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    counts.dropped.wait(1).await;
    let late = desk.hang().dedicated_stream().timeout(DEADLINE).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    counts.dropped.wait(1).await;
}

#[tokio::test]
async fn handler_is_given_the_remaining_time() {
    let (desk, ..) = shop().await;
    assert_eq!(desk.remaining().await.unwrap(), None);
    let left = desk
        .remaining()
        .timeout(Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");
    let left = desk.remaining().timeout(Duration::MAX).await.unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn metadata_reaches_the_handler_of_its_call_only() {
    let (desk, ..) = shop().await;
    let call = desk
        .meta("user")
        .meta("user", "ada \"l\"")
        .meta("trace", "1");
    assert_eq!(call.await.unwrap().as_deref(), Some("ada \"l\""));
    assert_eq!(desk.meta("user").await.unwrap(), None);
}

#[tokio::test]
async fn metadata_of_a_call_replaces_that_of_its_client() {
    let client = Client::builder()
        .metadata(|add| {
            add("user", "client");
            add("trace", "1");
        })
        .local(DeskServer::new(Shop::default()));
    let desk = DeskClient::new(client);
    assert_eq!(desk.meta("user").await.unwrap().as_deref(), Some("client"));
    let call = || desk.meta("user").meta("user", "call");
    assert_eq!(call().await.unwrap().as_deref(), Some("call"));
    let twice = call().meta("user", "again");
    assert_eq!(twice.await.unwrap().as_deref(), Some("again"));
    let other = desk.meta("trace").meta("user", "call");
    assert_eq!(other.await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn large_requests_and_responses_arrive() {
    let (desk, ..) = shop().await;
    let large = "\u{1f980}\n".repeat(100_000);
    assert_eq!(soon(desk.echo(&large)).await.unwrap(), large);
    for _ in 0..3 {
        assert_eq!(
            soon(desk.repeat("ab", 500_000)).await.unwrap().len(),
            1_000_000
        );
    }
    assert_eq!(desk.repeat("ab", 1).await.unwrap(), "ab");
    let too_large = desk.echo(&"x".repeat(2 << 20)).await.unwrap_err();
    assert!(
        matches!(&too_large, CallError::Remote(e) if e.code() == code::REQUEST_TOO_LARGE),
        "{too_large:?}"
    );
    let too_large = desk.repeat("abcdefgh", 1 << 20).await.unwrap_err();
    assert!(
        matches!(&too_large, CallError::Remote(e) if e.code() == code::REPLY_TOO_LARGE),
        "{too_large:?}"
    );
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn reply_larger_than_the_client_accepts_is_an_error_that_names_the_limit() {
    let builder = Client::builder().max_response_bytes(1_000);
    let client = builder.local(DeskServer::new(Shop::default()));
    let desk = DeskClient::new(client.clone());
    let large = || desk.repeat("ab", 1_000);
    let mut batch = client.batch();
    let _entry = batch.call(large());
    let errors = [
        soon(large()).await.unwrap_err(),
        soon(large().dedicated_stream()).await.unwrap_err(),
        soon(batch.send()).await.unwrap_err(),
    ];
    for error in errors {
        let error = error.to_string();
        assert!(
            error.ends_with("or raise `ClientBuilder::max_response_bytes` (1000)"),
            "{error}"
        );
    }
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn result_of_another_type_is_a_decode_error_and_nan_an_internal_error() {
    let (desk, client, _) = shop().await;
    // JSON has no NaN, so the server refuses to write it.
    let numbers = desk.numbers().await.unwrap_err();
    assert_eq!(numbers.code(), Some(code::INTERNAL_ERROR), "{numbers:?}");
    let text = client.call::<String, _>("add", &(1, 2)).await.unwrap_err();
    assert!(matches!(text, CallError::Decode(_)), "{text:?}");
}

#[tokio::test]
async fn calls_end_when_the_server_shuts_down() {
    let shop = Shop::default();
    let (client, handle) = serve(DeskServer::new(shop.clone()), Limits::default()).await;
    let desk = DeskClient::new(client.clone());
    let calls: Vec<_> = (0..50)
        .map(|n| {
            tokio::spawn(if n % 2 == 0 {
                desk.hang()
            } else {
                desk.hang().dedicated_stream()
            })
        })
        .collect();
    shop.0.hung.wait(50).await;
    assert!(!soon(handle.shutdown(Duration::ZERO)).await);
    for call in calls {
        let ended = soon(call).await.unwrap().unwrap_err();
        assert!(
            matches!(
                ended,
                CallError::Connection {
                    execution: Execution::MayHaveExecuted,
                    ..
                }
            ),
            "{ended:?}"
        );
    }
    let lost = soon(client.closed()).await;
    assert!(
        matches!(lost, ConnectionError::ClosedByPeer { code: 0x11, .. }),
        "{lost:?}"
    );
    let late = desk.add(1, 2).await.unwrap_err();
    assert!(
        matches!(
            late,
            CallError::Connection {
                execution: Execution::NotSent,
                ..
            }
        ),
        "{late:?}"
    );
}

#[tokio::test]
async fn closed_client_has_sent_its_notifications() {
    let (desk, client, counts) = shop().await;
    for _ in 0..100 {
        desk.note("remember").await.unwrap();
    }
    soon(client.close()).await;
    soon(async {
        while counts.notes.load(Ordering::SeqCst) < 100 {
            counts.noted.notified().await;
        }
    })
    .await;
    let late = desk.add(1, 2).await.unwrap_err();
    assert!(
        matches!(
            late,
            CallError::Connection {
                execution: Execution::NotSent,
                ..
            }
        ),
        "{late:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notification_before_the_close_of_its_client_is_executed() {
    let shop = Shop::default();
    let server = TestServer::start(DeskServer::new(shop.clone()), Limits::default());
    let clients = 200;
    for _ in 0..clients {
        let client = server.connect().await;
        DeskClient::new(client.clone()).note("last").await.unwrap();
        soon(client.close()).await;
    }
    soon(async {
        while shop.0.notes.load(Ordering::SeqCst) < clients {
            shop.0.noted.notified().await;
        }
    })
    .await;
}

#[tokio::test]
async fn dropped_client_has_sent_its_notifications() {
    let (desk, client, counts) = shop().await;
    for _ in 0..100 {
        desk.note("remember").await.unwrap();
    }
    drop((desk, client));
    soon(async {
        while counts.notes.load(Ordering::SeqCst) < 100 {
            counts.noted.notified().await;
        }
    })
    .await;
}

#[tokio::test]
async fn batch_has_a_typed_result_for_each_entry() {
    let (desk, client, counts) = shop().await;
    let mut batch = client.batch();
    let sum = batch.call(desk.add(1, 2));
    let dear = batch.call(desk.buy("car"));
    let absent = batch.call(client.call::<(), _>("absent", &()));
    let user = batch.call(desk.meta("user").meta("user", "ada"));
    batch.notify(desk.note("one")).unwrap();
    let text = batch.call(desk.echo("é"));
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(text).unwrap(), "é");
    assert_eq!(replies.take(sum).unwrap(), 3);
    assert_eq!(replies.take(user).unwrap().as_deref(), Some("ada"));
    assert!(matches!(
        replies.take(dear),
        Err(CallError::Application(BuyError::TooDear { .. }))
    ));
    let absent = replies.take(absent);
    assert!(matches!(absent, Err(CallError::Remote(e)) if e.code() == code::METHOD_NOT_FOUND));
    soon(counts.noted.notified()).await;
}

#[tokio::test]
async fn batch_of_notifications_gets_no_response() {
    let (desk, client, counts) = shop().await;
    let mut batch = client.batch();
    batch.notify(desk.note("one")).unwrap();
    batch.notify(desk.note("two")).unwrap();
    soon(batch.send()).await.unwrap();
    soon(async {
        while counts.notes.load(Ordering::SeqCst) < 2 {
            counts.noted.notified().await;
        }
    })
    .await;
    soon(client.batch().send()).await.unwrap();
}

#[tokio::test]
async fn batch_past_the_limit_of_entries_is_rejected_as_a_whole() {
    let (desk, client, _) = shop().await;
    let mut batch = client.batch();
    for n in 0..101 {
        batch.call(desk.add(n, n));
    }
    let refused = soon(batch.send()).await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Remote(e) if e.code() == code::BATCH_TOO_LARGE),
        "{refused:?}"
    );
}

#[tokio::test]
async fn local_client_behaves_as_a_remote_one() {
    let shop = Shop::default();
    let desk = DeskClient::new(Client::local(DeskServer::new(shop.clone())));
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert!(matches!(
        desk.buy("nothing").await,
        Err(CallError::Application(BuyError::SoldOut))
    ));
    let late = desk.hang().timeout(DEADLINE).await;
    assert!(matches!(late, Err(CallError::Timeout)));
    shop.0.dropped.wait(1).await;
    assert_eq!(desk.repeat("ab", 500_000).await.unwrap().len(), 1_000_000);
    assert_eq!(desk.repeat("ab", 500_000).await.unwrap().len(), 1_000_000);
    let calls: Vec<_> = (0..1000).map(|n| tokio::spawn(desk.add(n, n))).collect();
    for (n, call) in (0..).zip(calls) {
        assert_eq!(soon(call).await.unwrap().unwrap(), 2 * n);
    }
}

#[tokio::test]
async fn pending_call_can_be_moved_and_awaited_again() {
    let (desk, ..) = shop().await;
    for mut call in [desk.next_note(), desk.next_note().dedicated_stream()] {
        let early = tokio::time::timeout(Duration::ZERO, &mut call).await;
        assert!(early.is_err(), "{early:?}");
        desk.note("now").await.unwrap();
        let moved = call;
        soon(moved).await.unwrap();
    }
}

#[tokio::test]
async fn finished_call_awaited_again_is_an_error() {
    let (desk, client, _) = shop().await;
    let over = async |mut call: rpc_runtime::Call<Value, ErrorObject>| {
        let _ = soon(&mut call).await;
        let again = soon(&mut call).await.unwrap_err().to_string();
        assert!(again.contains("the call is over"), "{again}");
    };
    over(client.call("add", &(1, 2))).await;
    over(client.call("add", &(1, 2)).dedicated_stream()).await;
    over(client.call("hang", &()).timeout(Duration::from_millis(1))).await;
    over(client.call("absent", &())).await;
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn request_nested_too_deeply_is_rejected_alone() {
    let (desk, client, counts) = shop().await;
    let neighbour = tokio::spawn(desk.hang());
    counts.hung.wait(1).await;
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    for call in [
        client.call::<Value, _>("echo", &deep),
        client.call::<Value, _>("echo", &deep).dedicated_stream(),
    ] {
        let refused = soon(call).await.unwrap_err();
        assert!(
            matches!(&refused, CallError::Remote(e) if e.code() == code::PARSE_ERROR),
            "{refused:?}"
        );
    }
    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
    assert!(!neighbour.is_finished());
}

#[tokio::test]
async fn error_about_an_invalid_argument_is_truncated() {
    let (_, client, _) = shop().await;
    let wrong = "é".repeat(100_000);
    match soon(client.call::<i64, _>("add", &(wrong, 1))).await {
        Err(CallError::Remote(error)) => {
            let told = error.data::<String>().unwrap();
            let mismatch = told.strip_prefix("argument `a`: ").unwrap();
            assert_eq!(mismatch.chars().count(), 256);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn batch_with_responses_past_the_limit_is_decoded() {
    let (desk, client, _) = shop().await;
    for room in (0..300).step_by(30) {
        let mut batch = client.batch();
        let first = batch.call(desk.add(1, 2));
        let large = batch.call(desk.repeat("x", (4 << 20) - 450 + room));
        let more = [0; 3].map(|_| batch.call(desk.repeat("x", 200)));
        let last = batch.call(desk.add(3, 4));
        let mut replies = soon(batch.send()).await.unwrap();
        assert_eq!(replies.take(first).unwrap(), 3);
        let fits = |reply: Result<String, CallError>| match reply {
            Ok(_) => true,
            Err(CallError::Remote(e)) if e.code() == code::BATCH_REPLY_TOO_LARGE => false,
            Err(other) => panic!("{other:?}"),
        };
        let large = fits(replies.take(large));
        let all = more.map(|more| fits(replies.take(more))) == [true; 3];
        assert!(!(large && all), "{room}");
        let last = replies.take(last);
        assert!(
            match &last {
                Ok(sum) => *sum == 7,
                Err(CallError::Remote(e)) => e.code() == code::BATCH_REPLY_TOO_LARGE,
                Err(_) => false,
            },
            "{last:?}"
        );
    }
}

mod raw_json {
    use super::*;

    /// JSON whose lines would be messages if the line feeds were sent.
    const LINES: &str = r#"[1,
{"jsonrpc":"2.0","method":"note","params":["smuggled"]}
,{
"jsonrpc":"2.0","id":0,"result":666}
]"#;

    #[rpc]
    trait Post {
        async fn echo(&self, value: Value) -> Value;
        async fn result(&self) -> Box<RawValue>;
        async fn error(&self) -> Result<(), ErrorObject>;
        #[rpc(notification)]
        async fn note(&self, text: &str);
        async fn notes(&self) -> usize;
    }

    #[derive(Default)]
    struct Clerk(AtomicUsize);

    fn lines() -> Box<RawValue> {
        RawValue::from_string(LINES.to_owned()).unwrap()
    }

    impl Post for Clerk {
        async fn echo(&self, value: Value) -> Value {
            value
        }

        async fn result(&self) -> Box<RawValue> {
            lines()
        }

        async fn error(&self) -> Result<(), ErrorObject> {
            Err(ErrorObject::new(7, "lines").with_data(&lines()))
        }

        async fn note(&self, _: &str) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        async fn notes(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    async fn post() -> Client {
        let server = PostServer::new(Clerk::default());
        serve(server, Limits::default()).await.0
    }

    fn meant() -> Value {
        serde_json::from_str(LINES).unwrap()
    }

    #[tokio::test]
    async fn raw_json_in_parameters_is_sent_as_one_line() {
        let client = post().await;
        let whole = client.call::<Value, _>("echo", &[lines()]);
        assert_eq!(soon(whole).await.unwrap(), meant());
        let alone = client
            .call::<Value, _>("echo", &[lines()])
            .dedicated_stream();
        assert_eq!(soon(alone).await.unwrap(), meant());
        soon(client.notify("echo", &[lines()]).into_future())
            .await
            .unwrap();
        let mut batch = client.batch();
        let entry = batch.call(client.call::<Value, _>("echo", &[lines()]));
        batch.notify(client.notify("echo", &[lines()])).unwrap();
        let mut replies = soon(batch.send()).await.unwrap();
        assert_eq!(replies.take(entry).unwrap(), meant());
        assert_eq!(
            soon(client.call::<usize, _>("notes", &())).await.unwrap(),
            0
        );
    }

    #[tokio::test]
    async fn raw_json_in_a_result_or_error_is_sent_as_one_line() {
        let client = post().await;
        let result = client.call::<Value, _>("result", &());
        assert_eq!(soon(result).await.unwrap(), meant());
        match soon(client.call::<(), _>("error", &())).await {
            Err(CallError::Application(error)) => {
                assert_eq!((error.code(), error.message()), (7, "lines"));
                assert_eq!(error.data::<Value>(), Some(meant()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn call_that_cannot_be_encoded_fails_once() {
    let (_, client, _) = shop().await;
    let mut call = client.call::<i64, _>("add", &1);
    assert!(matches!((&mut call).await, Err(CallError::Encode(reason)) if !reason.is_empty()));
    assert!(matches!((&mut call).await, Err(CallError::Decode(_))));
}
