//! Handlers: context, cancellation, panics, and the shutdown of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rpc_runtime::{
    BindError, CallError, Cancellation, Client, Context, ErrorObject, Execution, Identity, Limits,
    RawService, RpcError, Server, Trust, code, rpc,
};
use serde_json::Value;
use tests::support::{DEADLINE, current_thread, serve, soon};
use tokio::sync::{Notify, mpsc};

#[rpc]
trait Office {
    async fn visits(&self, cx: &Context) -> u64;
    async fn peer(&self, cx: &Context) -> Option<String>;
    async fn panic(&self, after_await: bool);
    async fn meet(&self) -> String;
    async fn hang(&self, cx: &Context);
    async fn hang_with_a_copy(&self, cx: &Context);
    async fn finish(&self, cx: &Context);
    #[rpc(blocking)]
    fn compute(&self, cx: &Context, text: &str, times: u32) -> String;
    #[rpc(blocking)]
    fn panic_blocking(&self, text: &str);
    #[rpc(blocking)]
    fn wait_for_cancellation(&self, cx: &Context);
}

struct Desk {
    cancellations: mpsc::UnboundedSender<Cancellation>,
    arrived: Notify,
    leave: Notify,
}

#[derive(Clone)]
struct Shared(Arc<Desk>);

#[derive(Default)]
struct Visits(AtomicU64);

impl Office for Shared {
    async fn visits(&self, cx: &Context) -> u64 {
        if cx.connection_extensions().get::<Visits>().is_none() {
            cx.connection_extensions().insert(Visits::default());
        }
        let visits = cx.connection_extensions().get::<Visits>().unwrap();
        visits.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn peer(&self, cx: &Context) -> Option<String> {
        cx.peer().map(|peer| peer.ip().to_string())
    }

    async fn panic(&self, after_await: bool) {
        if after_await {
            tokio::task::yield_now().await;
        }
        panic!("a secret of the server's");
    }

    async fn meet(&self) -> String {
        self.0.arrived.notify_one();
        self.0.leave.notified().await;
        "met".to_owned()
    }

    async fn hang(&self, cx: &Context) {
        self.0.cancellations.send(cx.cancellation()).unwrap();
        std::future::pending().await
    }

    async fn hang_with_a_copy(&self, cx: &Context) {
        let copy = cx.clone();
        self.0.cancellations.send(copy.cancellation()).unwrap();
        self.0.cancellations.send(cx.cancellation()).unwrap();
        std::future::pending().await
    }

    async fn finish(&self, cx: &Context) {
        self.0.cancellations.send(cx.cancellation()).unwrap();
    }

    fn compute(&self, cx: &Context, text: &str, times: u32) -> String {
        format!(
            "{}{}",
            text.repeat(times as usize),
            cx.meta("mark").unwrap_or_default()
        )
    }

    fn panic_blocking(&self, text: &str) {
        panic!("{text}");
    }

    fn wait_for_cancellation(&self, cx: &Context) {
        self.0.cancellations.send(cx.cancellation()).unwrap();
        while !cx.cancellation().is_cancelled() {
            std::thread::yield_now();
        }
        self.0.arrived.notify_one();
    }
}

fn office() -> (Shared, mpsc::UnboundedReceiver<Cancellation>) {
    let (cancellations, received) = mpsc::unbounded_channel();
    let desk = Desk {
        cancellations,
        arrived: Notify::new(),
        leave: Notify::new(),
    };
    (Shared(Arc::new(desk)), received)
}

#[tokio::test]
async fn connection_extensions_last_as_long_as_their_connection() {
    let (office, _) = office();
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(OfficeServer::new(office))
        .bind("localhost:0")
        .unwrap();
    let address = format!("localhost:{}", server.local_addr().unwrap().port());
    tokio::spawn(server.run());
    let connect = async || {
        let builder = Client::builder().trust(trust.clone());
        OfficeClient::new(builder.connect(&address).await.unwrap())
    };
    let (one, other) = (connect().await, connect().await);
    assert_eq!(one.visits().await.unwrap(), 1);
    assert_eq!(one.visits().dedicated_stream().await.unwrap(), 2);
    assert_eq!(other.visits().await.unwrap(), 1);
}

#[tokio::test]
async fn handler_is_given_the_address_of_its_caller() {
    let (office, _) = office();
    let (client, _) = serve(OfficeServer::new(office.clone()), Limits::default()).await;
    assert_eq!(
        OfficeClient::new(client).peer().await.unwrap().as_deref(),
        Some("127.0.0.1")
    );
    let local = OfficeClient::new(Client::local(OfficeServer::new(office)));
    assert_eq!(local.peer().await.unwrap(), None);
}

#[tokio::test]
async fn panicking_handler_ends_its_call_only_and_discloses_nothing() {
    let (office, _) = office();
    let (client, _) = serve(OfficeServer::new(office.clone()), Limits::default()).await;
    let office_client = OfficeClient::new(client);
    let neighbour = tokio::spawn(office_client.meet());
    soon(office.0.arrived.notified()).await;
    for call in [
        office_client.panic(false),
        office_client.panic(true),
        office_client.panic_blocking("a secret"),
    ] {
        match soon(call).await {
            Err(CallError::Remote(error)) => {
                assert_eq!(error.code(), code::INTERNAL_ERROR);
                assert_eq!(
                    (error.message(), error.raw_data()),
                    ("Internal error", None)
                );
            }
            other => panic!("{other:?}"),
        }
    }
    office.0.leave.notify_one();
    assert_eq!(soon(neighbour).await.unwrap().unwrap(), "met");
}

#[tokio::test]
async fn cancellation_token_outlives_the_handler() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office), Limits::default()).await;
    let office = OfficeClient::new(client);
    let call = tokio::spawn(office.hang());
    let cancellation = soon(cancellations.recv()).await.unwrap();
    assert!(!cancellation.is_cancelled());
    call.abort();
    soon(cancellation.cancelled()).await;

    soon(office.finish()).await.unwrap();
    let cancellation = soon(cancellations.recv()).await.unwrap();
    soon(office.visits()).await.unwrap();
    assert!(
        !cancellation.is_cancelled(),
        "a call that ended was not cancelled"
    );
}

#[tokio::test]
async fn clones_of_a_raw_service_share_its_limits() {
    let (office, mut cancellations) = office();
    let limits = Limits {
        max_concurrent_calls: 1,
        reject_excess_calls: true,
        ..Limits::default()
    };
    let mut service = RawService::with_limits(OfficeServer::new(office), limits);
    let mut clone = service.clone();
    let hanging = tokio::spawn(async move {
        let reply = service.respond(br#"{"jsonrpc":"2.0","id":1,"method":"hang"}"#);
        reply.await.to_vec()
    });
    soon(cancellations.recv()).await.unwrap();
    let call = br#"{"jsonrpc":"2.0","id":2,"method":"visits"}"#;
    let refused: Value = serde_json::from_slice(soon(clone.respond(call)).await).unwrap();
    assert_eq!(refused["error"]["code"], code::TOO_MANY_CALLS);
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(
        soon(clone.respond(call)).await,
        br#"{"jsonrpc":"2.0","id":2,"result":1}"#
    );
}

#[tokio::test]
async fn cancellation_of_an_earlier_call_does_not_reach_the_next() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office), Limits::default()).await;
    let office = OfficeClient::new(client);
    for _ in 0..3 {
        let late = soon(office.hang().timeout(DEADLINE)).await;
        assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
        let earlier = soon(cancellations.recv()).await.unwrap();
        soon(earlier.cancelled()).await;

        let call = tokio::spawn(office.hang());
        let next = soon(cancellations.recv()).await.unwrap();
        assert!(!next.is_cancelled());
        call.abort();
        soon(next.cancelled()).await;
    }
}

#[tokio::test]
async fn cancellation_token_is_cancelled_by_deadline_and_loss_of_the_connection() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office), Limits::default()).await;
    let office = OfficeClient::new(client.clone());
    let _ = office.hang().timeout(DEADLINE).await;
    soon(soon(cancellations.recv()).await.unwrap().cancelled()).await;

    let call = tokio::spawn(office.hang());
    let cancellation = soon(cancellations.recv()).await.unwrap();
    soon(client.close()).await;
    soon(cancellation.cancelled()).await;
    assert!(soon(call).await.unwrap().is_err());
}

#[tokio::test]
async fn blocking_method_does_not_block_other_calls() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office.clone()), Limits::default()).await;
    let client = OfficeClient::new(client);
    let blocked = tokio::spawn(client.wait_for_cancellation());
    soon(cancellations.recv()).await.unwrap();
    let computed = client.compute("a\"b\u{1f980} ", 2).meta("mark", "!");
    assert_eq!(
        soon(computed).await.unwrap(),
        "a\"b\u{1f980} a\"b\u{1f980} !"
    );
    blocked.abort();
    soon(office.0.arrived.notified()).await;
}

#[tokio::test]
async fn shutdown_ends_running_calls_and_rejects_new_ones() {
    let (office, _) = office();
    let (client, handle) = serve(OfficeServer::new(office.clone()), Limits::default()).await;
    let client = OfficeClient::new(client);
    let running = [
        tokio::spawn(client.meet()),
        tokio::spawn(client.meet().dedicated_stream()),
    ];
    soon(office.0.arrived.notified()).await;
    soon(office.0.arrived.notified()).await;

    let shutdown = tokio::spawn(async move { handle.shutdown(Duration::from_secs(20)).await });
    // The server drains once it rejects a call.
    let refused = soon(async {
        loop {
            match client.visits().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(refused) => return refused,
            }
        }
    })
    .await;
    assert!(
        matches!(
            refused,
            CallError::Connection {
                execution: Execution::NotExecuted,
                ..
            }
        ),
        "{refused:?}"
    );

    office.0.leave.notify_one();
    office.0.leave.notify_one();
    office.0.leave.notify_waiters();
    for call in running {
        assert_eq!(soon(call).await.unwrap().unwrap(), "met");
    }
    assert!(
        soon(shutdown).await.unwrap(),
        "everything was finished in time"
    );
}

#[tokio::test]
async fn shutdown_of_an_idle_server_returns_at_once() {
    let (office, _) = office();
    let (client, handle) = serve(OfficeServer::new(office), Limits::default()).await;
    OfficeClient::new(client.clone()).visits().await.unwrap();
    assert!(soon(handle.shutdown(Duration::from_secs(20))).await);
    assert!(
        soon(handle.shutdown(Duration::from_secs(20))).await,
        "a second time, too"
    );
    soon(client.closed()).await;
}

#[rpc]
trait Annex {
    async fn visits(&self) -> u64;
}

struct Empty;

impl Annex for Empty {
    async fn visits(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn duplicate_method_of_two_services_is_rejected() {
    let (office, _) = office();
    let refused = Server::builder(Identity::self_signed(["localhost"]).unwrap())
        .service(OfficeServer::new(office))
        .service(AnnexServer::new(Empty))
        .bind("127.0.0.1:0")
        .unwrap_err();
    assert!(matches!(
        &refused,
        BindError::DuplicateMethod {
            method: "visits",
            ..
        }
    ));
    let told = "the services Office and Annex both have a method `visits`; give one a namespace";
    assert_eq!(refused.to_string(), told);
}

#[tokio::test]
async fn dropped_server_closes_its_connections() {
    let (office, _) = office();
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(OfficeServer::new(office))
        .bind("localhost:0")
        .unwrap();
    let address = format!("localhost:{}", server.local_addr().unwrap().port());
    let serving = tokio::spawn(server.run());
    let client = Client::builder()
        .trust(trust)
        .reconnect(false)
        .connect(address)
        .await
        .unwrap();
    OfficeClient::new(client.clone()).visits().await.unwrap();
    serving.abort();
    soon(client.closed()).await;
}

#[test]
fn dropped_runtime_cancels_blocking_handlers() {
    let (office, mut cancellations) = office();
    let runtime = current_thread();
    runtime.block_on(async {
        let client = OfficeClient::new(Client::local(OfficeServer::new(office)));
        tokio::spawn(client.wait_for_cancellation());
        soon(cancellations.recv()).await.unwrap();
    });
    // Dropping the runtime waits for the thread of the blocking method.
    drop(runtime);
}

#[tokio::test]
async fn clone_of_the_context_is_cancelled_with_it() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office), Limits::default()).await;
    let call = tokio::spawn(OfficeClient::new(client).hang_with_a_copy());
    let copies = soon(cancellations.recv()).await.unwrap();
    let own = soon(cancellations.recv()).await.unwrap();
    call.abort();
    soon(own.cancelled()).await;
    soon(copies.cancelled()).await;
}

#[tokio::test]
async fn calls_after_a_cancelled_blocking_call_are_served() {
    let (office, mut cancellations) = office();
    let (client, _) = serve(OfficeServer::new(office.clone()), Limits::default()).await;
    let client = OfficeClient::new(client);
    for dedicated_stream in [false, true] {
        let on = |call: rpc_runtime::Call<()>| match dedicated_stream {
            true => call.dedicated_stream(),
            false => call,
        };
        let late = tokio::spawn(
            on(client.wait_for_cancellation())
                .timeout(DEADLINE)
                .into_future(),
        );
        soon(cancellations.recv()).await.unwrap();
        assert!(matches!(soon(late).await.unwrap(), Err(CallError::Timeout)));
        soon(office.0.arrived.notified()).await;

        let cancelled = tokio::spawn(on(client.wait_for_cancellation()));
        soon(cancellations.recv()).await.unwrap();
        cancelled.abort();
        soon(office.0.arrived.notified()).await;

        // Each worker is used: one call waits while others are served.
        for _ in 0..4 {
            let waiting = tokio::spawn(client.meet());
            soon(office.0.arrived.notified()).await;
            let alone = client.compute("alone", 1).dedicated_stream();
            assert_eq!(soon(alone).await.unwrap(), "alone");
            for _ in 0..8 {
                assert_eq!(soon(client.compute("ab", 2)).await.unwrap(), "abab");
            }
            office.0.leave.notify_one();
            assert_eq!(soon(waiting).await.unwrap().unwrap(), "met");
        }
    }
}

#[tokio::test]
async fn address_is_free_after_a_shutdown_although_a_handle_exists() {
    let (office, _) = office();
    let bind = |address| {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let trust = Trust::certificate(identity.certificate());
        let server = Server::builder(identity)
            .service(OfficeServer::new(office.clone()))
            .bind(address)
            .unwrap();
        (server, trust)
    };
    let mut address = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
    let mut handles = Vec::new();
    for _ in 0..3 {
        let (server, trust) = bind(address);
        address = server.local_addr().unwrap();
        handles.push(server.handle());
        tokio::spawn(server.run());
        let builder = Client::builder().trust(trust).server_name("localhost");
        let client = builder.connect(address).await.unwrap();
        assert_eq!(OfficeClient::new(client).visits().await.unwrap(), 1);
        let handle = handles.last().unwrap();
        assert!(soon(handle.shutdown(Duration::from_secs(20))).await);
    }
}

#[rpc]
trait Failing {
    async fn fail(&self, code: i64) -> Result<(), ErrorObject>;
    async fn fail_to_display(&self) -> Result<(), UndisplayableError>;
}

/// An error whose `Display` fails.
#[derive(Debug, RpcError)]
#[rpc(code = 1)]
struct UndisplayableError;

impl std::fmt::Display for UndisplayableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("I am \"")?;
        Err(std::fmt::Error)
    }
}

struct FailingService;

impl Failing for FailingService {
    async fn fail(&self, code: i64) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(code, "mine").with_data(&1))
    }

    async fn fail_to_display(&self) -> Result<(), UndisplayableError> {
        Err(UndisplayableError)
    }
}

fn is_internal<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, CallError<E>>) {
    match result {
        Err(CallError::Remote(error)) => {
            assert_eq!(error.code(), code::INTERNAL_ERROR);
            assert_eq!(error.message(), "Internal error");
            assert_eq!(error.raw_data(), None);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn handler_error_with_a_reserved_code_becomes_an_internal_error() {
    let (client, _) = serve(FailingServer::new(FailingService), Limits::default()).await;
    let client = FailingClient::new(client);
    for code in [
        code::CANCELLED,
        code::DEADLINE_PASSED,
        code::SHUTTING_DOWN,
        code::STREAM_ENDED,
    ] {
        is_internal(soon(client.fail(code)).await);
    }
    let own = soon(client.fail(1)).await;
    assert!(matches!(own, Err(CallError::Application(error)) if error.code() == 1));
}

#[tokio::test]
async fn error_whose_display_fails_becomes_an_internal_error() {
    let (client, _) = serve(FailingServer::new(FailingService), Limits::default()).await;
    let client = FailingClient::new(client);
    for _ in 0..3 {
        is_internal(soon(client.fail_to_display()).await);
        is_internal(soon(client.fail_to_display().dedicated_stream()).await);
    }
}
