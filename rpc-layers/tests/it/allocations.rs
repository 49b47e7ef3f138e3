//! With all layers around its service, a call on warm buffers whose span is disabled allocates nothing on either end.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rpc_layers::{
    AuthorizationLayer, ConcurrencyLimitLayer, MetricsLayer, OpenTelemetryLayer, RateLimitLayer,
    TracingLayer,
};
use rpc_runtime::middleware::RequestInfo;
use rpc_runtime::{CallError, Client, RawService, Service, rpc};
use tokio::runtime::Runtime;
use tower::ServiceBuilder;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::recorder::Recorder;

#[rpc]
trait Office {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn later(&self, text: &str) -> usize;
    async fn buy(&self) -> Result<u32, SoldOut>;
    #[rpc(notification)]
    async fn note(&self, text: &str);
}

#[derive(Debug, rpc_runtime::RpcError)]
#[rpc(code = 1)]
struct SoldOut;

impl std::fmt::Display for SoldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sold out")
    }
}

struct Small;

/// A future that is pending once.
struct Once(Cell<bool>);

impl Future for Once {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.0.replace(true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Office for Small {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn later(&self, text: &str) -> usize {
        Once(Cell::new(false)).await;
        text.len()
    }

    async fn buy(&self) -> Result<u32, SoldOut> {
        Err(SoldOut)
    }

    async fn note(&self, _: &str) {}
}

/// Records metrics, and discards spans, of the current thread.
struct Observed {
    _recorded: metrics::LocalRecorderGuard<'static>,
    _discarded: tracing::subscriber::DefaultGuard,
}

fn observe() -> Observed {
    static RECORDER: OnceLock<Recorder> = OnceLock::new();
    let subscriber = tracing_subscriber::registry().with(LevelFilter::OFF);
    Observed {
        _recorded: metrics::set_default_local_recorder(RECORDER.get_or_init(Recorder::default)),
        _discarded: tracing::subscriber::set_default(subscriber),
    }
}

/// The service with all layers around it.
fn layered() -> impl Service {
    let rate = RateLimitLayer::new(1_000_000, Duration::from_secs(1));
    ServiceBuilder::new()
        .layer(TracingLayer::new())
        .layer(OpenTelemetryLayer::new())
        .layer(MetricsLayer::new())
        .layer(AuthorizationLayer::new(|_: RequestInfo<'_>| Ok(())))
        .layer(rate.clone())
        .layer(rate.per_connection())
        .layer(ConcurrencyLimitLayer::new(8))
        .layer(ConcurrencyLimitLayer::new(8).reject())
        .service(OfficeServer::new(Small))
}

const WARM_UP: usize = 300;
const COUNTED: usize = 300;
/// tokio makes a task that never waits yield, and allocates a list of such tasks in each `block_on`.
const YIELDS: u64 = 1;

/// Returns the number of allocations of `call` after a warm-up.
fn allocations(runtime: &Runtime, mut call: impl AsyncFnMut()) -> u64 {
    let mut repeat = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                call().await;
            }
        });
    };
    repeat(WARM_UP);
    allocation_counter::measure(|| repeat(COUNTED)).count_total
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn calls_through_all_layers_allocate_nothing() {
    let _observed = observe();
    let runtime = runtime();
    let office = OfficeClient::new(runtime.block_on(async { Client::local(layered()) }));
    let call = async || {
        assert_eq!(office.add(1, 2).await.unwrap(), 3);
        assert_eq!(office.later("a \"word\"").await.unwrap(), 8);
        let sold_out = office.buy().await;
        assert!(matches!(sold_out, Err(CallError::Application(SoldOut))));
        office.note("remember this").await.unwrap();
    };
    assert_eq!(allocations(&runtime, call), 0);
}

#[test]
fn call_with_a_trace_context_allocates_nothing() {
    let _observed = observe();
    let runtime = runtime();
    let mut responder = RawService::new(layered());
    let meta = r#"{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=1"}"#;
    let message =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2],"meta":{meta}}}"#);
    let call = async || {
        let answer = responder.respond(message.as_bytes()).await;
        assert_eq!(answer, br#"{"jsonrpc":"2.0","id":1,"result":3}"#);
    };
    assert!(allocations(&runtime, call) <= YIELDS);
}

/// Shows that allocations are counted.
#[test]
fn rejected_call_allocates_its_error() {
    let _observed = observe();
    let runtime = runtime();
    let check = |_: RequestInfo<'_>| Err(rpc_runtime::ErrorObject::new(7, "no"));
    let layer = AuthorizationLayer::new(check);
    let mut responder = RawService::new(tower_layer::Layer::layer(&layer, layered()));
    let call = async || {
        let message = br#"{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}"#;
        let refused = br#"{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"no"}}"#;
        assert_eq!(responder.respond(message).await, refused);
    };
    let refused = allocations(&runtime, call);
    assert!((COUNTED as u64..=COUNTED as u64 + YIELDS).contains(&refused));
}
