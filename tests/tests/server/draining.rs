//! How handlers and probes learn that a server shuts down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use rpc_runtime::{CallError, Client, Context, Limits, Shutdown, rpc};
use serde_json::{Value, json};
use tests::support::{TestServer, eventually, soon};

/// A time that no test waits for.
const LONG: Duration = Duration::from_secs(60);

/// Every method runs until the server drains.
#[rpc]
trait Long {
    async fn wait(&self, cx: &Context) -> u32;
    #[rpc(blocking)]
    fn wait_on_thread(&self, cx: &Context) -> u32;
    /// Sends one item at once.
    fn items(&self, cx: &Context) -> impl Stream<Item = u32>;
    async fn take(&self, cx: &Context, items: impl Stream<Item = u32>) -> u32;
    #[rpc(notification)]
    async fn note(&self, cx: &Context);
    /// Calls `wait` of the caller until this server drains. Returns `true` if that call ended first.
    async fn wait_for_caller(&self, cx: &Context) -> bool;
}

#[derive(Clone, Default)]
struct Waiting {
    started: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Waiting {
    async fn until_drain(&self, cx: &Context) -> u32 {
        assert!(!cx.is_draining());
        self.started.fetch_add(1, Ordering::Relaxed);
        cx.draining().await;
        assert!(cx.is_draining());
        self.ended.fetch_add(1, Ordering::Relaxed);
        1
    }
}

impl Long for Waiting {
    async fn wait(&self, cx: &Context) -> u32 {
        self.until_drain(cx).await
    }

    fn wait_on_thread(&self, cx: &Context) -> u32 {
        self.started.fetch_add(1, Ordering::Relaxed);
        while !cx.is_draining() {
            std::thread::yield_now();
        }
        2
    }

    fn items(&self, cx: &Context) -> impl Stream<Item = u32> {
        stream::iter([1])
            .chain(stream::pending())
            .take_until(cx.draining())
    }

    async fn take(&self, cx: &Context, items: impl Stream<Item = u32>) -> u32 {
        self.started.fetch_add(1, Ordering::Relaxed);
        let taken = items.take_until(cx.draining()).count().await;
        taken as u32
    }

    async fn note(&self, cx: &Context) {
        self.until_drain(cx).await;
    }

    async fn wait_for_caller(&self, cx: &Context) -> bool {
        let caller = cx.client::<LongClient>();
        self.started.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            _ = caller.wait() => true,
            () = cx.draining() => false,
        }
    }
}

#[tokio::test]
async fn calls_of_every_kind_that_run_until_the_drain_let_it_finish() {
    let service = Waiting::default();
    let server = TestServer::start(LongServer::new(service.clone()), Limits::default());
    let client = server.client().service(LongServer::new(Waiting::default()));
    let client = soon(client.connect(server.address)).await.unwrap();
    let long = LongClient::new(client.clone());
    let waiting = tokio::spawn(long.wait().into_future());
    let on_thread = tokio::spawn(long.wait_on_thread().into_future());
    let of_caller = tokio::spawn(long.wait_for_caller().into_future());
    let taking = long.take(stream::iter([1]).chain(stream::pending()));
    let taking = tokio::spawn(taking);
    let mut batch = client.batch();
    let entry = batch.call(long.wait());
    let batch = tokio::spawn(batch.send());
    soon(long.note()).await.unwrap();
    let mut items = long.items();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    eventually(|| service.started.load(Ordering::Relaxed) == 6).await;

    assert!(soon(server.handle.shutdown(LONG)).await, "a call was ended");
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 1);
    assert_eq!(soon(on_thread).await.unwrap().unwrap(), 2);
    assert!(!soon(of_caller).await.unwrap().unwrap());
    assert_eq!(soon(taking).await.unwrap().unwrap(), 1);
    let mut replies = soon(batch).await.unwrap().unwrap();
    assert_eq!(replies.take(entry).unwrap(), 1);
    assert!(
        soon(items.next()).await.is_none(),
        "the stream ends without an error"
    );
    assert_eq!(service.ended.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn calls_within_the_process_are_never_told_to_end() {
    let service = Waiting::default();
    let client = Client::local(LongServer::new(service.clone()));
    let waiting = tokio::spawn(LongClient::new(client.clone()).wait().into_future());
    eventually(|| service.started.load(Ordering::Relaxed) == 1).await;
    soon(client.close()).await;
    assert!(matches!(
        soon(waiting).await.unwrap(),
        Err(CallError::Connection { .. })
    ));
    assert_eq!(service.ended.load(Ordering::Relaxed), 0);
}

async fn health(client: &Client) -> String {
    let answer: Value = soon(client.call("rpc.health", &json!([]))).await.unwrap();
    answer["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn announced_shutdown_accepts_probes_and_serves_calls_until_another_shutdown() {
    let service = Waiting::default();
    let server = TestServer::start(LongServer::new(service.clone()), Limits::default());
    let client = server.connect().await;
    assert_eq!(health(&client).await, "SERVING");
    let handle = server.handle.clone();
    let shutdown = Shutdown::within(LONG).announced_for(LONG);
    let mut stopping = tokio::spawn(async move { handle.shutdown(shutdown).await });
    soon(async { while health(&client).await == "SERVING" {} }).await;

    let probe = server.connect().await;
    assert_eq!(health(&probe).await, "NOT_SERVING");
    server.handle.set_health(rpc_runtime::Health::Serving);
    assert_eq!(health(&probe).await, "NOT_SERVING");
    let call = tokio::spawn(LongClient::new(probe).wait().into_future());
    eventually(|| service.started.load(Ordering::Relaxed) == 1).await;
    assert!((&mut stopping).now_or_never().is_none());

    assert!(soon(server.handle.shutdown(LONG)).await);
    assert_eq!(soon(call).await.unwrap().unwrap(), 1);
    assert!(soon(stopping).await.unwrap());
}

#[tokio::test]
async fn announced_shutdown_drains_when_the_time_has_passed() {
    let server = TestServer::start(LongServer::new(Waiting::default()), Limits::default());
    let client = server.connect().await;
    let call = tokio::spawn(LongClient::new(client).wait().into_future());
    let shutdown = Shutdown::within(LONG).announced_for(Duration::from_millis(20));
    assert!(soon(server.handle.shutdown(shutdown)).await);
    // The call may have been rejected, since it was made at the same time.
    drop(soon(call).await.unwrap());
    soon(server.running).await.unwrap();
}
