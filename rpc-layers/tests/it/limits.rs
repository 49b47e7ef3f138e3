//! Calls that wait, and calls that are rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_layers::{AuthorizationLayer, Authorize, ConcurrencyLimitLayer, RateLimitLayer};
use rpc_runtime::middleware::RequestInfo;
use rpc_runtime::{CallError, Client, ErrorObject, RawService, Service, code};
use tower::ServiceBuilder;
use tower_layer::Layer;

use crate::support::{Clerk, DeskClient, DeskServer, soon};

const ADD: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"desk.add","params":[1,2]}"#;
const ADDED: &[u8] = br#"{"jsonrpc":"2.0","id":1,"result":3}"#;

async fn add<S: Service>(responder: &mut RawService<S>) -> bool {
    let answer = soon(responder.respond(ADD)).await;
    if answer == ADDED {
        return true;
    }
    let answer = std::str::from_utf8(answer).unwrap();
    let refused =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32012,"message":"Rate limited","data":"the "#;
    assert!(answer.starts_with(refused), "{answer}");
    assert!(answer.contains("calls a second, and "), "{answer}");
    false
}

fn responder<S: Service>(layer: impl Layer<DeskServer<Clerk>, Service = S>) -> RawService<S> {
    RawService::new(layer.layer(DeskServer::new(Clerk::default())))
}

#[tokio::test]
async fn call_past_the_concurrency_limit_waits() {
    let clerk = Clerk::default();
    let service = ConcurrencyLimitLayer::new(1).layer(DeskServer::new(clerk.clone()));
    let client = Client::local(service);
    let desk = DeskClient::new(client.clone());
    let hanging = tokio::spawn(desk.hang().into_future());
    clerk.hangs().await;
    let waiting = tokio::spawn(desk.add(1, 2).into_future());
    let late = desk.add(1, 2).timeout(Duration::from_millis(5));
    assert!(matches!(soon(late).await, Err(CallError::Timeout)));
    // The server has read all earlier calls.
    soon(client.call::<(), _>("rpc.ping", &())).await.unwrap();
    assert!(!waiting.is_finished());
    hanging.abort();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn call_past_the_concurrency_limit_is_rejected_if_configured() {
    let clerk = Clerk::default();
    let layer = ConcurrencyLimitLayer::new(1).reject();
    let [first, second] = [layer.clone(), layer].map(|layer| {
        let service = layer.layer(DeskServer::new(clerk.clone()));
        DeskClient::new(Client::local(service))
    });
    let hanging = tokio::spawn(first.hang().into_future());
    clerk.hangs().await;
    for desk in [&first, &second] {
        match soon(desk.add(1, 2)).await {
            Err(CallError::Remote(error)) => assert_eq!(error.code(), code::TOO_MANY_CALLS),
            other => panic!("{other:?}"),
        }
    }
    hanging.abort();
    clerk.has_dropped().await;
    assert_eq!(soon(second.add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn burst_of_calls_up_to_the_limit_is_accepted() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (layer, burst) in [
        (RateLimitLayer::new(3, HOUR), 3),
        (RateLimitLayer::new(3, HOUR).burst(5), 5),
        (RateLimitLayer::new(3, HOUR).burst(2).per_connection(), 2),
    ] {
        let mut responder = responder(layer);
        for _ in 0..burst {
            assert!(add(&mut responder).await);
        }
        assert!(!add(&mut responder).await);
    }
}

#[tokio::test]
async fn rate_limited_call_is_accepted_after_the_period() {
    let mut responder = responder(RateLimitLayer::new(10, Duration::from_secs(1)));
    let until = async |responder: &mut RawService<_>, let_through| {
        while add(responder).await != let_through {
            tokio::task::yield_now().await;
        }
    };
    soon(until(&mut responder, false)).await;
    soon(until(&mut responder, true)).await;
}

#[tokio::test]
async fn rate_is_shared_by_connections_or_counted_per_connection() {
    let rate = RateLimitLayer::new(2, Duration::from_secs(3600));
    let mut together = [responder(rate.clone()), responder(rate.clone())];
    for (connection, let_through) in [(0, true), (1, true), (0, false), (1, false)] {
        assert_eq!(add(&mut together[connection]).await, let_through);
    }
    let each = rate.per_connection();
    let mut own = [responder(each.clone()), responder(each)];
    for (connection, let_through) in [(0, true), (0, true), (0, false), (1, true), (1, true)] {
        assert_eq!(add(&mut own[connection]).await, let_through);
    }
}

#[tokio::test]
async fn two_rate_limits_of_a_connection_are_counted_separately() {
    let rate = |calls| RateLimitLayer::new(calls, Duration::from_secs(3600)).per_connection();
    let mut responder = responder(ServiceBuilder::new().layer(rate(3)).layer(rate(2)));
    // The inner layer rejects the third call, the outer layer the later ones.
    for let_through in [true, true, false, false] {
        assert_eq!(add(&mut responder).await, let_through);
    }
}

/// Authorizes calls by their metadata, asynchronously.
#[derive(Clone, Default)]
struct Book(Arc<AtomicUsize>);

impl Authorize for Book {
    async fn authorize(&self, call: RequestInfo<'_>) -> Result<(), ErrorObject> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        match (call.context().meta("user"), call.method().name) {
            (Some("ada"), _) | (_, "desk.add") => Ok(()),
            _ => Err(ErrorObject::new(403, "not for you")),
        }
    }
}

#[tokio::test]
async fn unauthorized_call_is_rejected_without_running_its_handler() {
    let book = Book::default();
    let service = AuthorizationLayer::new(book.clone()).layer(DeskServer::new(Clerk::default()));
    let client = Client::local(service);
    let desk = DeskClient::new(client.clone());
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    match soon(desk.fail()).await {
        Err(CallError::Application(error)) => assert_eq!(error.code(), 403),
        other => panic!("{other:?}"),
    }
    // The method has no error with this code. The call is authorized once.
    assert_eq!(book.0.swap(0, Ordering::SeqCst), 2);
    match soon(desk.panic()).await {
        Err(CallError::Remote(error)) => assert_eq!(error.message(), "not for you"),
        other => panic!("{other:?}"),
    }
    assert_eq!(book.0.load(Ordering::SeqCst), 1);
    // The arguments are not decoded.
    let wrong = client.call::<(), _>("desk.fail", &["wrong"]);
    match soon(wrong).await {
        Err(CallError::Application(error)) => assert_eq!(error.code(), 403),
        other => panic!("{other:?}"),
    }
    match soon(desk.fail().meta("user", "ada")).await {
        Err(CallError::Application(error)) => assert_eq!(error.code(), 7),
        other => panic!("{other:?}"),
    }
}

#[test]
#[should_panic(expected = "`burst` is too large for the rate")]
fn burst_too_large_for_the_rate_panics() {
    RateLimitLayer::new(1, Duration::from_secs(3600)).burst(10_000_000);
}
