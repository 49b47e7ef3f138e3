//! The panic of a handler ends only its own call.

use std::future::pending;
use std::panic::panic_any;
use std::time::Duration;

use rpc_runtime::{CallError, Client, Limits, code, rpc};
use tests::support::{serve, soon};
use tokio::sync::Notify;

#[rpc]
trait Fragile {
    /// Panics with a payload that panics when it is dropped.
    async fn panic_with_fragile_payload(&self);
    /// Never returns, and panics when it is dropped.
    async fn panic_when_dropped(&self);
    /// Waits until it is released.
    async fn wait(&self) -> u32;
    async fn release(&self);
}

struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        // A second panic while the first unwinds would abort the process.
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[derive(Default)]
struct FragileService(Notify);

impl Fragile for FragileService {
    async fn panic_with_fragile_payload(&self) {
        panic_any(PanicOnDrop)
    }

    async fn panic_when_dropped(&self) {
        let _panic_on_drop = PanicOnDrop;
        pending().await
    }

    async fn wait(&self) -> u32 {
        self.0.notified().await;
        7
    }

    async fn release(&self) {
        self.0.notify_one();
    }
}

async fn fragile() -> (FragileClient, rpc_runtime::ServerHandle) {
    let (client, server) = serve(
        FragileServer::new(FragileService::default()),
        Limits::default(),
    )
    .await;
    (FragileClient::new(client), server)
}

/// Makes a call while another call runs on the same stream, and checks that the other call is not affected.
async fn beside_a_neighbour(fragile: &FragileClient, call: impl Future<Output = ()>) {
    let mut neighbour = fragile.wait();
    assert!(futures_util::poll!(&mut neighbour).is_pending());
    soon(call).await;
    soon(fragile.release()).await.unwrap();
    assert_eq!(soon(neighbour).await.unwrap(), 7);
}

#[tokio::test]
async fn panic_payload_that_panics_when_dropped_ends_its_own_call_only() {
    let (fragile, _server) = fragile().await;
    for _ in 0..3 {
        beside_a_neighbour(&fragile, async {
            match fragile.panic_with_fragile_payload().await {
                Err(CallError::Remote(error)) => assert_eq!(error.code(), code::INTERNAL_ERROR),
                other => panic!("{other:?}"),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn handler_that_panics_when_dropped_by_its_deadline_ends_its_own_call_only() {
    let (fragile, _server) = fragile().await;
    beside_a_neighbour(&fragile, async {
        let call = fragile.panic_when_dropped();
        call.timeout(Duration::from_millis(20)).await.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn handler_that_panics_when_dropped_by_its_cancellation_ends_its_own_call_only() {
    let (fragile, _server) = fragile().await;
    beside_a_neighbour(&fragile, async {
        let mut call = fragile.panic_when_dropped();
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
    })
    .await;
}

#[tokio::test]
async fn batch_entries_that_panic_do_not_affect_other_entries() {
    let client = Client::local(FragileServer::new(FragileService::default()));
    let fragile = FragileClient::new(client.clone());
    let mut batch = client.batch();
    let broken = batch.call(fragile.panic_with_fragile_payload());
    let late = batch.call(
        fragile
            .panic_when_dropped()
            .timeout(Duration::from_millis(20)),
    );
    let (waiting, released) = (batch.call(fragile.wait()), batch.call(fragile.release()));
    let mut replies = soon(batch.send()).await.unwrap();
    replies.take(broken).unwrap_err();
    replies.take(late).unwrap_err();
    replies.take(released).unwrap();
    assert_eq!(replies.take(waiting).unwrap(), 7);
}
