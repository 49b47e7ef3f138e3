//! What middleware observes of calls that end in every way.

use std::time::Duration;

use futures_util::StreamExt;
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{CallError, Client, Context, ErrorObject, Outcome, RawService, Service, rpc};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::support::{Clerk, DeskClient, DeskServer, ENDS, make_calls, soon};

/// Reports the method of each call, whether it has a response, and its outcome.
#[derive(Clone)]
struct Recorder(UnboundedSender<Seen>);

type Seen = (&'static str, bool, Outcome);

impl Recorder {
    fn new() -> (Self, UnboundedReceiver<Seen>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Self(send), receive)
    }
}

impl Middleware for Recorder {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let mut reported = None;
        let (method, has_reply) = (call.method().name, call.has_reply());
        let answer = next
            .observe(|outcome| {
                reported = Some(outcome);
                self.0.send((method, has_reply, outcome)).unwrap();
            })
            .await;
        assert_eq!(reported, Some(answer.outcome()));
        answer
    }
}

/// Responds to all calls.
struct Reject(i64);

impl Middleware for Reject {
    async fn call<S: Service>(&self, _: RequestInfo<'_>, _: Next<'_, S>) -> Response {
        Response::error(ErrorObject::new(self.0, "not now").with_data("later"))
    }
}

/// Drops handlers that are pending.
struct RespondFirst;

impl Middleware for RespondFirst {
    async fn call<S: Service>(&self, _: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let too_slow = Response::error(ErrorObject::new(7, "too slow"));
        let ran = tokio::time::timeout(Duration::ZERO, next.run()).await;
        ran.unwrap_or(too_slow)
    }
}

/// Works on a thread until the call is cancelled.
#[rpc]
trait Worker {
    #[rpc(blocking)]
    fn work(&self, cx: &Context) -> u32;
}

struct PendingWorker(UnboundedSender<()>);

impl Worker for PendingWorker {
    fn work(&self, cx: &Context) -> u32 {
        let cancellation = cx.cancellation();
        while !cancellation.is_cancelled() {
            std::thread::yield_now();
        }
        self.0.send(()).unwrap();
        7
    }
}

fn all(mut seen: UnboundedReceiver<Seen>) -> Vec<Seen> {
    std::iter::from_fn(|| seen.try_recv().ok()).collect()
}

#[tokio::test]
async fn calls_that_end_in_any_way_are_observed_once() {
    let (recorder, seen) = Recorder::new();
    make_calls(|desk| Layered::new(recorder.clone(), desk)).await;
    let seen = all(seen);
    let ends = seen.iter().map(|(method, _, outcome)| (*method, *outcome));
    assert_eq!(ends.collect::<Vec<_>>(), ENDS);
    let without = seen
        .iter()
        .enumerate()
        .filter(|(_, (_, has_reply, _))| !has_reply);
    let without: Vec<_> = without.map(|(at, (method, ..))| (at, *method)).collect();
    assert_eq!(
        without,
        [(7, "desk.note"), (8, "desk.fail"), (11, "desk.note")]
    );
}

#[tokio::test]
async fn middleware_may_respond_instead_of_the_handler() {
    let (recorder, seen) = Recorder::new();
    let service = Layered::new(Reject(7), DeskServer::new(Clerk::default()));
    let mut responder = RawService::new(Layered::new(recorder, service));
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"desk.panic"}"#;
    let answer =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"not now","data":"later"}}"#;
    assert_eq!(responder.respond(call).await, answer.as_bytes());
    let notification = br#"{"jsonrpc":"2.0","method":"desk.note"}"#;
    assert_eq!(responder.respond(notification).await, b"");
    let absent = br#"{"jsonrpc":"2.0","id":1,"method":"desk.gone"}"#;
    assert!(
        responder
            .respond(absent)
            .await
            .windows(6)
            .any(|code| code == b"-32601")
    );
    let refused = Outcome::Error(7);
    assert_eq!(
        all(seen),
        [("desk.panic", true, refused), ("desk.note", false, refused)]
    );
}

#[tokio::test]
async fn middleware_that_responds_first_drops_the_handler() {
    let (stopped, mut stops) = mpsc::unbounded_channel();
    let (recorder, seen) = Recorder::new();
    let worker = Layered::new(recorder, WorkerServer::new(PendingWorker(stopped)));
    let mut responder = RawService::new(Layered::new(RespondFirst, worker));
    for call in [
        r#"{"jsonrpc":"2.0","id":1,"method":"work"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"work"}]"#,
    ] {
        let answer = soon(responder.respond(call.as_bytes())).await;
        let answer = std::str::from_utf8(answer).unwrap();
        assert!(answer.contains(r#""id":1,"error":{"code":7,"#), "{answer}");
        soon(stops.recv()).await.unwrap();
    }
    assert_eq!(all(seen), [("work", true, Outcome::Cancelled); 2]);

    let desk = Layered::new(RespondFirst, DeskServer::new(Clerk::default()));
    let desk = DeskClient::new(Client::local(desk));
    let counted: Vec<_> = soon(desk.count(100).collect()).await;
    let Some((Err(CallError::Remote(too_slow)), counted)) = counted.split_last() else {
        panic!("{counted:?}")
    };
    assert_eq!((too_slow.code(), counted.len()), (7, 10));
}

#[tokio::test]
async fn layered_service_keeps_its_description() {
    let message = br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
    let mut without = RawService::new(DeskServer::new(Clerk::default()));
    let mut within = RawService::new(Layered::new(Reject(7), DeskServer::new(Clerk::default())));
    let described = without.respond(message).await.to_vec();
    assert!(
        described.windows(10).any(|name| name == b"desk.count"),
        "{described:?}"
    );
    assert_eq!(within.respond(message).await, described);
}

#[tokio::test]
async fn middleware_error_with_a_reserved_code_becomes_an_internal_error() {
    let service = Layered::new(
        Reject(rpc_runtime::code::SHUTTING_DOWN),
        DeskServer::new(Clerk::default()),
    );
    let mut responder = RawService::new(service);
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"desk.fail"}"#;
    let answer = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}"#;
    assert_eq!(responder.respond(call).await, answer.as_bytes());
}

#[tokio::test]
async fn call_whose_connection_is_lost_is_observed() {
    let (recorder, mut seen) = Recorder::new();
    let clerk = Clerk::default();
    let client = Client::local(Layered::new(recorder, DeskServer::new(clerk.clone())));
    let hanging = tokio::spawn(DeskClient::new(client.clone()).hang().into_future());
    clerk.hangs().await;
    client.close().await;
    hanging.await.unwrap().unwrap_err();
    let seen = soon(seen.recv()).await;
    assert_eq!(seen, Some(("desk.hang", true, Outcome::Cancelled)));
}

#[tokio::test]
async fn handler_that_panics_when_dropped_is_observed_as_panicked() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    #[rpc]
    trait Panicking {
        async fn hang(&self);
    }
    struct PanickingService;
    impl Panicking for PanickingService {
        async fn hang(&self) {
            let _panic_on_drop = PanicOnDrop;
            std::future::pending().await
        }
    }
    let (recorder, seen) = Recorder::new();
    let mut responder = RawService::new(Layered::new(
        recorder,
        PanickingServer::new(PanickingService),
    ));
    let call = br#"{"jsonrpc":"2.0","id":1,"method":"hang","timeout":5}"#;
    let answer = soon(responder.respond(call)).await;
    assert!(answer.windows(6).any(|code| code == b"-32603"));
    assert_eq!(all(seen), [("hang", true, Outcome::Panicked)]);
}
