//! The middleware of a client: what it sees of each kind of call, and what it changes.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rpc_runtime::description::Described;
use rpc_runtime::middleware::{
    Attempt, ClientMiddleware, ClientNext, ClientOutcome, ClientRequest, ClientResponse, Layered,
    Middleware, Next, RequestInfo, Response,
};
use rpc_runtime::{
    CallError, Client, ClientBuilder, Context, ErrorObject, Execution, Limits, RpcError, Service,
    rpc,
};
use tests::message;
use tests::peer::{RawServer, SHUT_DOWN};
use tests::support::{TestServer, soon};
use thiserror::Error;

/// The code of calls with a token that the server does not accept.
const UNAUTHORIZED: i64 = 401;

#[derive(Debug, PartialEq, Error, RpcError)]
enum AccountError {
    #[error("no account called {name}")]
    #[rpc(code = 7)]
    Unknown { name: String },
}

#[rpc]
trait Account {
    /// Returns the token of the call.
    async fn token(&self, cx: &Context) -> String;
    #[rpc(blocking)]
    fn token_on_thread(&self, cx: &Context) -> String;
    fn tokens(&self, cx: &Context) -> impl Stream<Item = String>;
    async fn upload(&self, cx: &Context, items: impl Stream<Item = u32>) -> String;
    #[rpc(notification)]
    async fn note(&self, cx: &Context);
    async fn noted(&self) -> Vec<String>;
    async fn meta(&self, cx: &Context) -> BTreeMap<String, String>;
    async fn find(&self, name: &str) -> Result<u32, AccountError>;
    async fn repeat(&self, text: &str, times: usize) -> String;
    async fn wait(&self);
    fn silence(&self) -> impl Stream<Item = u32>;
    /// Calls `token` of the caller, with and without middleware.
    async fn tokens_of_caller(&self, cx: &Context) -> Vec<String>;
}

#[derive(Default)]
struct Accounts(Mutex<Vec<String>>);

fn token(cx: &Context) -> String {
    cx.meta("token").unwrap_or("none").to_owned()
}

impl Account for Accounts {
    async fn token(&self, cx: &Context) -> String {
        token(cx)
    }

    fn token_on_thread(&self, cx: &Context) -> String {
        token(cx)
    }

    fn tokens(&self, cx: &Context) -> impl Stream<Item = String> {
        stream::iter([token(cx), token(cx)])
    }

    async fn upload(&self, cx: &Context, items: impl Stream<Item = u32>) -> String {
        format!("{} {}", token(cx), items.count().await)
    }

    async fn note(&self, cx: &Context) {
        self.0.lock().unwrap().push(token(cx));
    }

    async fn noted(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn meta(&self, cx: &Context) -> BTreeMap<String, String> {
        let metadata = cx.metadata();
        metadata
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    async fn find(&self, name: &str) -> Result<u32, AccountError> {
        let name = name.to_owned();
        Err(AccountError::Unknown { name })
    }

    async fn repeat(&self, text: &str, times: usize) -> String {
        text.repeat(times)
    }

    async fn wait(&self) {
        pending().await
    }

    fn silence(&self) -> impl Stream<Item = u32> {
        stream::iter([1]).chain(stream::pending())
    }

    async fn tokens_of_caller(&self, cx: &Context) -> Vec<String> {
        let caller = cx.client::<Client>();
        let refreshing = caller.with_middleware(Refresh::expired());
        let mut tokens = Vec::new();
        for client in [&refreshing, &caller] {
            let account = AccountClient::new(client.clone());
            tokens.push(account.token().await.unwrap());
            let listed: Vec<_> = account.tokens().try_collect().await.unwrap();
            tokens.extend(listed);
            account.note().await.unwrap();
        }
        tokens
    }
}

/// The server accepts only this token, except for notifications.
const NEW: &str = "new";

/// Rejects calls that have a token other than [`NEW`].
struct Require;

impl Middleware for Require {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match call.context().meta("token") {
            Some(token) if token != NEW => {
                Response::error(ErrorObject::new(UNAUTHORIZED, "token").with_data("expired"))
            }
            _ => {
                let token = call.context().meta("token").unwrap_or("none");
                call.context().set_response_meta("seen", token).unwrap();
                next.run().await
            }
        }
    }
}

fn service() -> impl Service {
    Layered::new(Require, AccountServer::new(Accounts::default()))
}

/// Calls `run` with a client over memory, and with one over QUIC.
async fn on_each_transport(
    build: impl Fn(ClientBuilder) -> ClientBuilder,
    mut run: impl AsyncFnMut(Client),
) {
    run(build(Client::builder()).local(service())).await;
    let server = TestServer::start(service(), Limits::default());
    let client = soon(build(server.client()).connect(server.address)).await;
    run(client.unwrap()).await;
}

/// Records what it sees.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Record {
    fn add(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ClientMiddleware for Record {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let kind = match (request.is_stream(), request.is_notification()) {
            (true, _) => "stream",
            (_, true) => "notification",
            _ if request.is_batch_entry() => "entry",
            _ => "call",
        };
        let token = request.meta("token").map(|token| token.into_owned());
        self.add(format!("{kind} {} {token:?}", request.method_name()));
        let response = next.run(request).await;
        let attempts = request.attempts();
        let outcome = response.outcome();
        self.add(format!(
            "{} {:?} after {attempts}",
            outcome.as_str(),
            response.code()
        ));
        response
    }

    fn attempt_ended(&self, _: &ClientRequest, attempt: &Attempt) {
        let outcome = attempt.outcome().as_str();
        self.add(format!("attempt {} {outcome}", attempt.number()));
    }
}

/// Adds a token, and replaces it after the server has rejected it.
#[derive(Clone)]
struct Refresh(Arc<Mutex<String>>);

impl Refresh {
    fn expired() -> Self {
        Self(Arc::new(Mutex::new("old".into())))
    }

    fn token(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl ClientMiddleware for Refresh {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        request.set_meta("token", &self.token());
        let response = next.run(request).await;
        if response.code() != Some(UNAUTHORIZED) {
            return response;
        }
        tokio::task::yield_now().await;
        *self.0.lock().unwrap() = NEW.into();
        request.set_meta("token", &self.token());
        next.run(request).await
    }
}

#[tokio::test]
async fn middleware_sees_method_metadata_and_outcome_of_each_kind_of_call() {
    let record = Record::default();
    let build = |builder: ClientBuilder| builder.middleware(record.clone());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        let seen = |kind: &str, end: &str| {
            let attempt = format!("attempt 1 {}", end.split(' ').next().unwrap());
            assert_eq!(record.take(), [kind, &attempt, end]);
        };

        account.token().meta("token", NEW).await.unwrap();
        seen(r#"call token Some("new")"#, "success None after 1");
        account.token_on_thread().dedicated_stream().await.unwrap();
        seen("call token_on_thread None", "success None after 1");
        account.upload(stream::iter([1, 2])).await.unwrap();
        seen("call upload None", "success None after 1");
        account.note().await.unwrap();
        seen("notification note None", "success None after 1");
        let tokens: Vec<_> = account.tokens().try_collect().await.unwrap();
        assert_eq!(tokens, ["none", "none"]);
        seen("stream tokens None", "success None after 1");
        client.call::<String, _>("token", &()).await.unwrap();
        seen("call token None", "success None after 1");

        account.token().meta("token", "old").await.unwrap_err();
        seen(r#"call token Some("old")"#, "error Some(401) after 1");
        let tokens = account.tokens().meta("token", "old");
        tokens.try_collect::<Vec<_>>().await.unwrap_err();
        seen(r#"stream tokens Some("old")"#, "error Some(401) after 1");
        client.call::<String, _>("missing", &()).await.unwrap_err();
        seen("call missing None", "error Some(-32601) after 1");
        client.call::<u32, _>("token", &()).await.unwrap_err();
        seen("call token None", "not_decoded None after 1");
    })
    .await;
}

#[tokio::test]
async fn middleware_sees_the_descriptions_of_service_and_method_and_the_deadline() {
    struct Look;
    impl ClientMiddleware for Look {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            if request.method_name() == "meta" {
                assert!(request.service().is_none() && request.method().is_none());
                assert_eq!(request.deadline(), None);
            } else {
                let service = request.service().unwrap();
                assert_eq!(service.name, AccountClient::DESCRIPTION.name);
                let method = request.method().unwrap();
                assert_eq!(
                    (method.name, method.docs),
                    ("token", "Returns the token of the call.")
                );
                let remaining = request.remaining().unwrap();
                assert!(
                    remaining > Duration::from_secs(50) && remaining <= Duration::from_secs(60)
                );
            }
            let pairs = request
                .metadata()
                .map(|(name, value)| format!("{name}={value}"));
            assert_eq!(pairs.collect::<Vec<_>>(), ["a=\"\\\n", "b=ü"]);
            next.run(request).await
        }
    }
    let client = Client::builder().middleware(Look).local(service());
    let token = AccountClient::new(client.clone()).token();
    let token = token.meta("a", "\"\\\n").meta("b", "ü");
    token.timeout(Duration::from_secs(60)).await.unwrap();
    let named = client.call::<BTreeMap<String, String>, _>("meta", &());
    let meta = named.meta("a", "\"\\\n").meta("b", "ü").await.unwrap();
    assert_eq!(meta["a"], "\"\\\n");
}

#[tokio::test]
async fn call_with_an_expired_token_is_sent_again_with_a_new_one() {
    for kind in ["call", "stream", "large"] {
        let build = |builder: ClientBuilder| builder.middleware(Refresh::expired());
        on_each_transport(build, async |client| {
            let account = AccountClient::new(client);
            for _ in 0..2 {
                let tokens = match kind {
                    "call" => vec![soon(account.token()).await.unwrap()],
                    "stream" => soon(account.tokens().try_collect()).await.unwrap(),
                    _ => {
                        let text = soon(account.repeat("\u{1F980}\\\n", 20_000)).await.unwrap();
                        assert_eq!(text, "\u{1F980}\\\n".repeat(20_000));
                        continue;
                    }
                };
                assert!(tokens.iter().all(|token| token == NEW), "{tokens:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn call_that_may_be_sent_once_ends_with_the_error_of_its_first_run() {
    let (record, token) = (Record::default(), Refresh::expired());
    let client = Client::builder()
        .middleware(token.clone())
        .middleware(record.clone())
        .local(service());
    let account = AccountClient::new(client);
    let expired = || *token.0.lock().unwrap() = "old".into();
    let rejected = |result: Result<String, CallError>| match result {
        Err(CallError::Remote(error)) => {
            assert_eq!((error.code(), error.raw_data()), (401, Some("\"expired\"")));
        }
        other => panic!("{other:?}"),
    };

    rejected(soon(account.token().no_retry()).await);
    assert_eq!(token.token(), NEW);
    expired();
    rejected(soon(account.upload(stream::iter([1, 2]))).await);
    expired();
    rejected(soon(account.tokens().no_retry().try_collect()).await);
    let attempts = record
        .take()
        .into_iter()
        .filter(|event| event.starts_with("attempt"));
    assert_eq!(attempts.collect::<Vec<_>>(), vec!["attempt 1 error"; 3]);
}

#[tokio::test]
async fn middleware_that_is_added_first_is_the_outermost() {
    struct Append(&'static str);
    impl ClientMiddleware for Append {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            let path = request
                .meta("path")
                .map_or_else(String::new, |path| path.into_owned());
            request.set_meta("path", &(path + self.0));
            next.run(request).await
        }
    }
    let add_before = |add: &mut dyn FnMut(&str, &str)| add("path", "client ");
    let client = Client::builder()
        .middleware(Append("outer "))
        .metadata(add_before)
        .middleware(Append("inner"))
        .local(service());
    let account = AccountClient::new(client);
    let meta = account.meta().await.unwrap();
    assert_eq!(meta["path"], "client outer inner");
    let meta = account.meta().meta("path", "call ").await.unwrap();
    assert_eq!(meta["path"], "call outer inner");
}

/// Answers in place of the server.
struct Answer(fn() -> ClientResponse);

impl ClientMiddleware for Answer {
    async fn call(&self, _: &mut ClientRequest, _: ClientNext<'_>) -> ClientResponse {
        self.0()
    }
}

fn answering(answer: fn() -> ClientResponse) -> AccountClient {
    let record = Record::default();
    let builder = Client::builder()
        .middleware(record)
        .middleware(Answer(answer));
    AccountClient::new(builder.local(service()))
}

#[tokio::test]
async fn answer_of_a_middleware_is_decoded_as_that_of_the_server() {
    let account = answering(|| ClientResponse::result("cached \"ü\""));
    assert_eq!(account.token().await.unwrap(), "cached \"ü\"");
    assert_eq!(
        account.upload(stream::iter([1])).await.unwrap(),
        "cached \"ü\""
    );
    assert!(matches!(
        account.find("ada").await,
        Err(CallError::Decode(_))
    ));
    assert_eq!(account.tokens().count().await, 0);
    account.note().await.unwrap();

    let account = answering(|| ClientResponse::result(&f64::NAN));
    assert!(matches!(account.token().await, Err(CallError::Encode(_))));

    let account = answering(|| {
        let name = "eve".into();
        ClientResponse::error(AccountError::Unknown { name })
    });
    let found = account.find("bob").await;
    let expected = AccountError::Unknown { name: "eve".into() };
    assert!(matches!(found, Err(CallError::Application(error)) if error == expected));

    let account = answering(|| {
        let error = ErrorObject::new(7, "no account called ada");
        ClientResponse::error(error.with_data(&BTreeMap::from([("name", "ada")])))
    });
    let found = account.find("bob").await;
    let expected = AccountError::Unknown { name: "ada".into() };
    assert!(matches!(found, Err(CallError::Application(error)) if error == expected));
    match account.token().await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), 7),
        other => panic!("{other:?}"),
    }
    let error = account.note().await.unwrap_err();
    assert_eq!(error.code(), Some(7));
    let error = account.tokens().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.code(), Some(7));
}

#[tokio::test]
async fn error_of_a_handler_is_an_error_object_for_the_middleware_and_typed_for_the_caller() {
    struct Look;
    impl ClientMiddleware for Look {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            let response = next.run(request).await;
            match response.failure() {
                Some(CallError::Application(error)) => {
                    assert_eq!(error.message(), "no account called ada");
                    assert_eq!(error.raw_data(), Some(r#"{"name":"ada"}"#));
                }
                other => panic!("{other:?}"),
            }
            // The response is decoded again after this.
            tokio::task::yield_now().await;
            response
        }
    }
    let client = Client::builder().middleware(Look).local(service());
    let found = AccountClient::new(client).find("ada").await;
    let expected = AccountError::Unknown { name: "ada".into() };
    assert!(matches!(found, Err(CallError::Application(error)) if error == expected));
}

/// Waits after each response, so that the reply is decoded again.
struct Linger;

impl ClientMiddleware for Linger {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let response = next.run(request).await;
        tokio::task::yield_now().await;
        response
    }
}

#[tokio::test]
async fn result_is_the_same_if_the_middleware_waits_after_the_response() {
    let build = |builder: ClientBuilder| builder.middleware(Linger);
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client);
        for times in [1, 3, 3_000, 30_000] {
            for text in ["plain", "\u{1F980}\\\"\n"] {
                let repeated = soon(account.repeat(text, times)).await.unwrap();
                assert!(repeated == text.repeat(times), "{times} times {text:?}");
            }
        }
        let tokens: Vec<_> = soon(account.tokens().try_collect()).await.unwrap();
        assert_eq!(tokens.len(), 2);
        soon(account.note()).await.unwrap();
    })
    .await;
}

/// Reports the outcome of each call, and of each attempt.
#[derive(Clone, Default)]
struct Observe(Arc<Mutex<Vec<(&'static str, ClientOutcome)>>>);

impl Observe {
    fn take(&self) -> Vec<(&'static str, ClientOutcome)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ClientMiddleware for Observe {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let report = |outcome| self.0.lock().unwrap().push(("call", outcome));
        next.observe(request, report).await
    }

    fn attempt_ended(&self, _: &ClientRequest, attempt: &Attempt) {
        self.0.lock().unwrap().push(("attempt", attempt.outcome()));
    }
}

/// Never ends.
struct Hang;

impl ClientMiddleware for Hang {
    async fn call(&self, _: &mut ClientRequest, _: ClientNext<'_>) -> ClientResponse {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_times_out_in_the_middleware_or_on_the_server_is_reported_as_timed_out() {
    let observe = Observe::default();
    let timeout = Duration::from_millis(20);
    let builder = Client::builder()
        .middleware(observe.clone())
        .timeout(timeout);
    let account = AccountClient::new(builder.clone().middleware(Hang).local(service()));
    assert!(matches!(account.token().await, Err(CallError::Timeout)));
    assert!(matches!(account.note().await, Err(CallError::Timeout)));
    let tokens = account.tokens().try_collect::<Vec<_>>().await;
    assert!(matches!(tokens, Err(CallError::Timeout)));
    assert_eq!(observe.take(), [("call", ClientOutcome::TimedOut); 3]);

    let account = AccountClient::new(builder.local(service()));
    assert!(matches!(account.wait().await, Err(CallError::Timeout)));
    let silence = account.silence().try_collect::<Vec<_>>().await;
    assert!(matches!(silence, Err(CallError::Timeout)));
    let timed_out = ["attempt", "call", "attempt", "call"];
    assert_eq!(
        observe.take(),
        timed_out.map(|what| (what, ClientOutcome::TimedOut))
    );
}

#[tokio::test]
async fn middleware_that_runs_calls_again_without_end_is_dropped_when_the_time_is_over() {
    struct Again;
    impl ClientMiddleware for Again {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            loop {
                let response = next.run(request).await;
                if response.failure().is_none() {
                    return response;
                }
            }
        }
    }
    let builder = Client::builder().middleware(Again);
    let client = builder.timeout(Duration::from_millis(20)).local(service());
    let account = AccountClient::new(client.clone());
    assert!(matches!(account.wait().await, Err(CallError::Timeout)));
    let silence = account.silence().try_collect::<Vec<_>>().await;
    assert!(matches!(silence, Err(CallError::Timeout)));
    // Each run fails at once.
    client.close().await;
    assert!(matches!(account.wait().await, Err(CallError::Timeout)));
    assert!(matches!(account.note().await, Err(CallError::Timeout)));
    let tokens = account.tokens().try_collect::<Vec<_>>().await;
    assert!(matches!(tokens, Err(CallError::Timeout)));
    let mut batch = client.batch();
    let _entry = batch.call(account.token());
    // The client is closed, so the time of a batch is over without a connection.
    assert!(matches!(
        batch.send().await,
        Err(CallError::Connection { .. })
    ));
}

#[tokio::test]
async fn call_that_is_dropped_is_reported_as_cancelled() {
    let observe = Observe::default();
    let build = |builder: ClientBuilder| builder.middleware(observe.clone());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client);
        let cancelled = ["attempt", "call"].map(|what| (what, ClientOutcome::Cancelled));
        let mut waiting = account.wait();
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert_eq!(observe.take(), cancelled);
        let mut silence = account.silence();
        assert_eq!(soon(silence.next()).await.unwrap().unwrap(), 1);
        drop(silence);
        assert_eq!(observe.take(), cancelled);
        // A call that was never polled does not exist for the middleware.
        drop(account.token());
        assert_eq!(observe.take(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn run_that_a_middleware_drops_is_cancelled_and_may_be_replaced() {
    /// Answers for a server that takes too long.
    struct Fallback;
    impl ClientMiddleware for Fallback {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            let run = next.run(request);
            match tokio::time::timeout(Duration::from_millis(5), run).await {
                Ok(response) => response,
                Err(_) if request.attempts() == 1 => ClientResponse::result(&()),
                Err(_) => panic!("{request:?}"),
            }
        }
    }
    let observe = Observe::default();
    let client = Client::builder()
        .middleware(Fallback)
        .middleware(observe.clone())
        .local(service());
    let account = AccountClient::new(client);
    account.wait().await.unwrap();
    let cancelled = ["attempt", "call"].map(|what| (what, ClientOutcome::Cancelled));
    assert_eq!(observe.take(), cancelled);
    let items: Vec<_> = account.silence().try_collect().await.unwrap();
    assert_eq!(items, [1]);
    assert_eq!(observe.take(), cancelled);
    assert_eq!(account.token().await.unwrap(), "none");
}

#[tokio::test]
async fn run_that_is_polled_with_another_waker_is_woken() {
    struct Concurrent;
    impl ClientMiddleware for Concurrent {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            let runs = stream::iter([next.run(request)]).buffer_unordered(2);
            let mut responses: Vec<_> = runs.collect().await;
            responses.remove(0)
        }
    }
    let build = |builder: ClientBuilder| builder.middleware(Concurrent);
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client);
        assert_eq!(soon(account.token()).await.unwrap(), "none");
        soon(account.note()).await.unwrap();
        let tokens: Vec<_> = soon(account.tokens().try_collect()).await.unwrap();
        assert_eq!(tokens.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn each_attempt_of_a_retried_call_is_reported() {
    for dedicated_stream in [false, true] {
        let peer = RawServer::start();
        let observe = Observe::default();
        let millisecond = Duration::from_millis(1);
        let builder = peer.client().reconnect_backoff(millisecond, millisecond);
        let (client, connection) = peer.meet(builder.middleware(observe.clone())).await;
        let mut call = client.call::<i64, _>("five", &());
        if dedicated_stream {
            call = call.dedicated_stream();
        }
        let call = tokio::spawn(call);
        let _stream = connection.accept_call().await;
        connection.close(SHUT_DOWN, b"");
        let connection = peer.accept().await;
        let (mut stream, request) = connection.accept_call().await;
        stream
            .write_line(message::result(request["id"].clone(), 5))
            .await;
        stream.finish();
        assert_eq!(soon(call).await.unwrap().unwrap(), 5);
        let lost = ClientOutcome::Disconnected(Execution::NotExecuted);
        let success = ClientOutcome::Success;
        assert_eq!(
            observe.take(),
            [("attempt", lost), ("attempt", success), ("call", success)]
        );

        client.close().await;
        let closed = client.call::<i64, _>("five", &());
        closed.await.unwrap_err();
        let not_sent = ClientOutcome::Disconnected(Execution::NotSent);
        assert_eq!(observe.take(), [("call", not_sent)]);
    }
}

#[tokio::test]
async fn middleware_sees_each_entry_of_a_batch() {
    let record = Record::default();
    let build = |builder: ClientBuilder| builder.middleware(record.clone());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        let mut batch = client.batch();
        let good = batch.call(account.token().meta("token", NEW));
        batch.notify(account.note()).unwrap();
        let bad = batch.call(account.token().meta("token", "old"));
        let find = batch.call(account.find("ada"));
        let mut replies = soon(batch.send()).await.unwrap();
        assert_eq!(replies.take(good).unwrap(), NEW);
        assert_eq!(replies.take(bad).unwrap_err().code(), Some(UNAUTHORIZED));
        let expected = AccountError::Unknown { name: "ada".into() };
        let found = replies.take(find);
        assert!(matches!(found, Err(CallError::Application(error)) if error == expected));
        assert_eq!(
            record.take(),
            [
                r#"entry token Some("new")"#,
                "notification note None",
                r#"entry token Some("old")"#,
                "entry find None",
                "attempt 1 success",
                "success None after 1",
                "attempt 1 success",
                "success None after 1",
                "attempt 1 error",
                "error Some(401) after 1",
                "attempt 1 error",
                "error Some(7) after 1",
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn entry_with_an_expired_token_is_sent_again_in_another_batch() {
    let (record, refresh) = (Record::default(), Refresh::expired());
    let client = Client::builder()
        .middleware(refresh.clone())
        .middleware(record.clone())
        .local(service());
    let account = AccountClient::new(client.clone());
    let mut batch = client.batch();
    let entries = [(); 3].map(|()| batch.call(account.token()));
    let once = batch.call(account.token().no_retry());
    let mut replies = soon(batch.send()).await.unwrap();
    for entry in entries {
        assert_eq!(replies.take(entry).unwrap(), NEW);
    }
    assert_eq!(replies.take(once).unwrap_err().code(), Some(UNAUTHORIZED));
    let count = |of: &str, events: &[String]| events.iter().filter(|event| *event == of).count();
    let events = record.take();
    assert_eq!(count("attempt 1 error", &events), 4);
    assert_eq!(count("attempt 2 success", &events), 3);
}

#[tokio::test]
async fn entry_that_a_middleware_answers_is_not_sent() {
    /// Answers calls of `repeat`, with an error if they have metadata.
    struct AnswerSome;
    impl ClientMiddleware for AnswerSome {
        async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
            tokio::task::yield_now().await;
            match (request.method_name(), request.meta("fail").is_some()) {
                (_, true) => ClientResponse::error(ErrorObject::new(9, "answered")),
                ("repeat", _) => ClientResponse::result("answered"),
                _ => next.run(request).await,
            }
        }
    }
    let client = Client::builder().middleware(AnswerSome).local(service());
    let account = AccountClient::new(client.clone());
    let mut batch = client.batch();
    let answered = batch.call(account.repeat("a", 2));
    let failed = batch.call(account.token().meta("fail", ""));
    batch.notify(account.note().meta("fail", "")).unwrap();
    let sent = batch.call(account.token());
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(answered).unwrap(), "answered");
    assert_eq!(replies.take(failed).unwrap_err().code(), Some(9));
    assert_eq!(replies.take(sent).unwrap(), "none");
    assert_eq!(soon(account.noted()).await.unwrap(), [""; 0]);

    let mut batch = client.batch();
    let answered = batch.call(account.repeat("a", 2));
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(answered).unwrap(), "answered");
}

#[tokio::test(start_paused = true)]
async fn batch_that_fails_as_a_whole_fails_for_the_middleware_of_each_entry() {
    let observe = Observe::default();
    let client = Client::builder()
        .middleware(observe.clone())
        .local(service());
    let account = AccountClient::new(client.clone());
    let mut batch = client.batch().timeout(Duration::from_millis(20));
    let _waiting = batch.call(account.wait());
    let _token = batch.call(account.token());
    assert!(matches!(batch.send().await, Err(CallError::Timeout)));
    let timed_out = ["attempt", "call"].map(|what| (what, ClientOutcome::TimedOut));
    assert_eq!(observe.take(), [timed_out, timed_out].concat());

    client.close().await;
    let mut batch = client.batch();
    let _token = batch.call(account.token());
    batch.notify(account.note()).unwrap();
    assert!(matches!(
        batch.send().await,
        Err(CallError::Connection { .. })
    ));
    let not_sent = ClientOutcome::Disconnected(Execution::NotSent);
    let calls = observe
        .take()
        .into_iter()
        .filter(|(what, _)| *what == "call");
    assert_eq!(calls.collect::<Vec<_>>(), [("call", not_sent); 2]);
}

#[tokio::test]
async fn calls_of_a_server_to_its_client_pass_through_middleware_that_the_handler_adds() {
    let build = |builder: ClientBuilder| builder.middleware(Linger);
    let run = async |client: Client| {
        let account = AccountClient::new(client);
        let tokens = soon(account.tokens_of_caller()).await.unwrap();
        assert_eq!(tokens, [NEW, NEW, NEW, "none", "none", "none"]);
    };
    run(build(Client::builder()).service(service()).local(service())).await;
    let server = TestServer::start(service(), Limits::default());
    let builder = build(server.client()).service(service());
    run(soon(builder.connect(server.address)).await.unwrap()).await;
}

#[tokio::test]
async fn client_with_more_middleware_shares_the_connection_and_leaves_other_calls_alone() {
    let (outer, inner) = (Record::default(), Record::default());
    let client = Client::builder().middleware(outer.clone()).local(service());
    let more = client.with_middleware(inner.clone());
    let account = AccountClient::new(more.clone());
    account.token().await.unwrap();
    assert_eq!(outer.take(), inner.take());
    AccountClient::new(client.clone()).token().await.unwrap();
    assert_eq!((outer.take().len(), inner.take().len()), (3, 0));

    // Both are clients of one connection, so their calls can be entries of one batch.
    let mut batch = client.batch();
    let both = batch.call(account.token());
    let one = batch.call(AccountClient::new(client.clone()).token());
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(both).unwrap(), "none");
    assert_eq!(replies.take(one).unwrap(), "none");
    assert_eq!((outer.take().len(), inner.take().len()), (6, 3));

    more.close().await;
    let closed = AccountClient::new(client).token().await;
    assert!(matches!(closed, Err(CallError::Connection { .. })));
}

#[tokio::test]
async fn entries_with_and_without_middleware_are_sent_in_one_batch() {
    let record = Record::default();
    let client = Client::local(service());
    let plain = AccountClient::new(client.clone());
    let layered = AccountClient::new(client.with_middleware(record.clone()));
    let refresh = AccountClient::new(client.with_middleware(Refresh::expired()));
    let mut batch = client.batch();
    let first = batch.call(plain.repeat("a", 2));
    let second = batch.call(layered.repeat("b", 2));
    let third = batch.call(refresh.token());
    batch.notify(plain.note()).unwrap();
    batch.notify(layered.note()).unwrap();
    let last = batch.call(plain.token().meta("token", "old"));
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(first).unwrap(), "aa");
    assert_eq!(replies.take(second).unwrap(), "bb");
    assert_eq!(replies.take(third).unwrap(), NEW);
    assert_eq!(replies.take(last).unwrap_err().code(), Some(UNAUTHORIZED));
    assert_eq!(record.take().len(), 6);
    while soon(plain.noted()).await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn response_metadata_is_that_of_the_last_run() {
    let build = |builder: ClientBuilder| builder.middleware(Linger).middleware(Refresh::expired());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        let (token, metadata) = soon(account.token().with_response_metadata()).await;
        assert_eq!(token.unwrap(), NEW);
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("seen", NEW)]);
        let mut tokens = account.tokens();
        while let Some(token) = soon(tokens.next()).await {
            assert_eq!(token.unwrap(), NEW);
        }
        assert_eq!(tokens.response_metadata().get("seen"), Some(NEW));
    })
    .await;

    let client = Client::local(service());
    let answering = Answer(|| ClientResponse::result("answered"));
    let account = AccountClient::new(client.with_middleware(answering));
    let (token, metadata) = account.token().with_response_metadata().await;
    assert_eq!(token.unwrap(), "answered");
    assert!(metadata.is_empty());
}

/// Records the metadata of the responses that it sees.
#[derive(Clone, Default)]
struct Read(Arc<Mutex<Vec<Pairs>>>);

/// Metadata as names and values.
type Pairs = Vec<(String, String)>;

impl Read {
    fn take(&self) -> Vec<Pairs> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ClientMiddleware for Read {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let response = next.run(request).await;
        let pairs = response.metadata().iter();
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.0.lock().unwrap().push(pairs.collect());
        assert_eq!(response.metadata(), response.metadata());
        response
    }
}

fn seen(token: &str) -> Pairs {
    vec![("seen".into(), token.into())]
}

#[tokio::test]
async fn middleware_reads_the_response_metadata_of_each_kind_of_call() {
    let read = Read::default();
    // With the outer middleware, replies are decoded again after their metadata was read.
    let build = |builder: ClientBuilder| builder.middleware(Linger).middleware(read.clone());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        let with = |token| account.token().meta("token", token);
        assert_eq!(soon(with(NEW)).await.unwrap(), NEW);
        assert_eq!(soon(with(NEW).dedicated_stream()).await.unwrap(), NEW);
        // The caller may read it as well.
        let (token, metadata) = soon(with(NEW).with_response_metadata()).await;
        assert_eq!(
            (token.unwrap(), metadata.get("seen")),
            (NEW.into(), Some(NEW))
        );
        soon(account.token_on_thread().meta("token", NEW))
            .await
            .unwrap();
        let upload = account.upload(stream::iter([1, 2])).meta("token", NEW);
        assert_eq!(soon(upload).await.unwrap(), "new 2");
        assert_eq!(read.take(), vec![seen(NEW); 5]);

        // Large replies, with every kind of character, are decoded whatever the middleware reads.
        let large = account.repeat("\u{1F980}\\\n", 20_000).meta("token", NEW);
        assert_eq!(soon(large).await.unwrap(), "\u{1F980}\\\n".repeat(20_000));
        // Errors of the method, and replies of another type than the caller's.
        soon(account.find("ada").meta("token", NEW))
            .await
            .unwrap_err();
        let wrong = client.call::<u32, _>("token", &()).meta("token", NEW);
        soon(wrong).await.unwrap_err();
        assert_eq!(read.take(), vec![seen(NEW); 3]);

        let mut tokens = account.tokens().meta("token", NEW);
        soon(tokens.next()).await.unwrap().unwrap();
        soon(tokens.next()).await.unwrap().unwrap();
        assert_eq!(read.take().len(), 0, "the metadata follows the last item");
        assert!(soon(tokens.next()).await.is_none());
        assert_eq!(read.take(), [seen(NEW)]);

        // The server sets none if it rejects the token.
        soon(with("old")).await.unwrap_err();
        soon(
            account
                .tokens()
                .meta("token", "old")
                .try_collect::<Vec<_>>(),
        )
        .await
        .unwrap_err();
        soon(account.note()).await.unwrap();
        soon(with(NEW).timeout(Duration::ZERO)).await.unwrap_err();
        let read = read.take();
        assert!(
            read.len() >= 3 && read.iter().all(Vec::is_empty),
            "{read:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn middleware_reads_the_response_metadata_of_each_entry_of_a_batch() {
    let read = Read::default();
    let build = |builder: ClientBuilder| builder.middleware(Linger).middleware(read.clone());
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        let mut batch = client.batch();
        let good = batch.call(account.token().meta("token", NEW));
        let bad = batch.call(account.token().meta("token", "old"));
        let find = batch.call(account.find("ada"));
        batch.notify(account.note()).unwrap();
        let mut replies = soon(batch.send()).await.unwrap();
        assert_eq!(replies.response_metadata(&good).get("seen"), Some(NEW));
        assert_eq!(replies.take(good).unwrap(), NEW);
        replies.take(bad).unwrap_err();
        replies.take(find).unwrap_err();
        assert_eq!(read.take(), [seen(NEW), vec![], seen("none"), vec![]]);
    })
    .await;
}

#[tokio::test]
async fn middleware_reads_the_response_metadata_of_each_run_and_of_none_that_it_answers() {
    let read = Read::default();
    let build = |builder: ClientBuilder| {
        builder
            .middleware(Refresh::expired())
            .middleware(read.clone())
    };
    on_each_transport(build, async |client| {
        let account = AccountClient::new(client.clone());
        assert_eq!(soon(account.token()).await.unwrap(), NEW);
        assert_eq!(read.take(), [vec![], seen(NEW)]);
        let tokens = account.tokens_of_caller();
        soon(tokens).await.unwrap_err();
        assert_eq!(read.take(), [seen(NEW)]);
    })
    .await;

    let answering = Answer(|| ClientResponse::result("answered"));
    let client = Client::builder()
        .middleware(read.clone())
        .middleware(answering);
    let account = AccountClient::new(client.local(service()));
    assert_eq!(account.token().await.unwrap(), "answered");
    assert_eq!(read.take(), [vec![]]);
}
