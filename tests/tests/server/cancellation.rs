//! The count of cancelled calls on the server.

use std::future::pending;

use rpc_runtime::{ConnectionState, Limits, rpc};
use tests::support::{current_thread, serve, soon};
use tokio::runtime::Builder;

#[rpc]
trait Desk {
    async fn wait(&self);
    async fn add(&self, a: u64, b: u64) -> u64;
}

struct DeskService;

impl Desk for DeskService {
    async fn wait(&self) {
        pending().await
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

/// Cancels 900 calls one after the other. No call completes meanwhile, which would offset ten cancellations.
async fn cancel_900_calls_in_a_row() {
    let limits = Limits {
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    let (client, _server) = serve(DeskServer::new(DeskService), limits).await;
    let desk = DeskClient::new(client.clone());
    for _ in 0..900 {
        let mut call = desk.wait();
        assert!(futures_util::poll!(&mut call).is_pending());
        // The request leaves before its cancellation.
        tokio::task::yield_now().await;
        drop(call);
        tokio::task::yield_now().await;
    }
    assert_eq!(soon(desk.add(1, 2)).await.unwrap(), 3);
    assert!(matches!(client.state(), ConnectionState::Connected));
}

#[test]
fn client_that_cancels_900_calls_in_a_row_is_not_closed_on_the_current_thread_runtime() {
    current_thread().block_on(cancel_900_calls_in_a_row());
}

#[test]
fn client_that_cancels_900_calls_in_a_row_is_not_closed_on_the_multi_thread_runtime() {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(cancel_900_calls_in_a_row());
}
