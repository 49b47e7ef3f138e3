//! Blocking handlers and the limits of calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rpc_runtime::{CallError, Limits, RawService, rpc};
use tests::support::{DEADLINE, eventually, serve, soon};
use tokio::runtime::Runtime;

#[rpc]
trait Work {
    /// Blocks its thread until the gate is open.
    #[rpc(blocking)]
    fn block(&self);
    async fn add(&self, a: u64, b: u64) -> u64;
}

#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    /// The number of handlers that have started.
    started: AtomicUsize,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    async fn has_started(&self, handlers: usize) {
        eventually(|| self.started() >= handlers).await;
    }
}

/// Opens the gate also when a test fails, so that its runtime can end.
struct OpenOnDrop(Arc<Gate>);

impl Drop for OpenOnDrop {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Work for Arc<Gate> {
    fn block(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
        let is_open = self.is_open.lock().unwrap();
        drop(
            self.opened
                .wait_while(is_open, |is_open| !*is_open)
                .unwrap(),
        );
    }

    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
}

/// A runtime with one thread for blocking handlers.
fn one_blocking_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.max_blocking_threads(1).enable_all();
    builder.build().unwrap()
}

fn limits(calls: usize) -> Limits {
    Limits {
        max_concurrent_calls: calls,
        ..Limits::default()
    }
}

#[test]
fn permit_of_a_timed_out_blocking_call_is_held_until_its_thread_has_finished() {
    let gate = Arc::new(Gate::default());
    let _open = OpenOnDrop(Arc::clone(&gate));
    one_blocking_thread().block_on(async {
        let (client, _server) = serve(WorkServer::new(Arc::clone(&gate)), limits(1)).await;
        let work = WorkClient::new(client);
        let blocked = work.block().timeout(DEADLINE).await;
        assert!(matches!(blocked, Err(CallError::Timeout)), "{blocked:?}");
        gate.has_started(1).await;
        let mut next = work.add(1, 2);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut next).await;
        assert!(early.is_err(), "the limit of one call does not hold");
        gate.open();
        assert_eq!(soon(next).await.unwrap(), 3);
    });
}

#[test]
fn blocking_call_past_its_deadline_before_its_thread_starts_never_starts() {
    let gate = Arc::new(Gate::default());
    let _open = OpenOnDrop(Arc::clone(&gate));
    one_blocking_thread().block_on(async {
        let (client, _server) = serve(WorkServer::new(Arc::clone(&gate)), limits(8)).await;
        let work = WorkClient::new(client);
        let first = tokio::spawn(work.block());
        gate.has_started(1).await;
        for _ in 0..20 {
            let late = work.block().timeout(Duration::from_millis(5)).await;
            assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
        }
        gate.open();
        soon(first).await.unwrap().unwrap();
        soon(work.block()).await.unwrap();
        assert_eq!(gate.started(), 2);
    });
}

#[test]
fn blocking_call_cancelled_before_its_thread_starts_never_starts_and_frees_its_permit() {
    let gate = Arc::new(Gate::default());
    let _open = OpenOnDrop(Arc::clone(&gate));
    one_blocking_thread().block_on(async {
        let (client, _server) = serve(WorkServer::new(Arc::clone(&gate)), limits(4)).await;
        let work = WorkClient::new(client);
        let first = tokio::spawn(work.block());
        gate.has_started(1).await;
        for _ in 0..20 {
            // One address may hold two permits. Each call gets the second permit, which the previous call has released
            // although it never had a thread.
            let mut cancelled = work.block();
            let polled = futures_util::poll!(&mut cancelled);
            assert!(polled.is_pending());
            drop(cancelled);
            assert_eq!(soon(work.add(1, 2)).await.unwrap(), 3);
        }
        gate.open();
        soon(first).await.unwrap().unwrap();
        soon(work.block()).await.unwrap();
        assert_eq!(gate.started(), 2);
    });
}

#[test]
fn entries_of_a_batch_past_their_deadline_leave_no_more_threads_than_permits() {
    let gate = Arc::new(Gate::default());
    let runtime = tests::support::current_thread();
    // Dropped before the runtime, which waits for its threads.
    let _open = OpenOnDrop(Arc::clone(&gate));
    runtime.block_on(async {
        let service = WorkServer::new(Arc::clone(&gate));
        let mut responder = RawService::with_limits(service, limits(1));
        let entry = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"timeout":50,"method":"block"}}"#);
        let batch = format!("[{}]", (0..20).map(entry).collect::<Vec<_>>().join(","));
        let reply = soon(responder.respond(batch.as_bytes())).await;
        let replies: Vec<serde_json::Value> = serde_json::from_slice(reply).unwrap();
        assert_eq!(replies.len(), 20);
        for reply in replies {
            assert_eq!(reply["error"]["code"], -32002, "{reply}");
        }
        assert_eq!(gate.started(), 1);
    });
}

#[test]
fn blocking_call_that_meets_its_deadline_is_answered() {
    let gate = Arc::new(Gate::default());
    gate.open();
    one_blocking_thread().block_on(async {
        let mut responder = RawService::new(WorkServer::new(gate));
        for _ in 0..200 {
            let call = br#"{"jsonrpc":"2.0","id":7,"timeout":1,"method":"block"}"#;
            // Keeps the thread busy until about the deadline.
            let busy = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
            let reply: serde_json::Value =
                serde_json::from_slice(soon(responder.respond(call)).await).unwrap();
            assert_eq!(reply["id"], 7);
            let is_late = reply["error"]["code"] == -32002;
            assert!(is_late || reply["result"].is_null(), "{reply}");
            soon(busy).await.unwrap();
        }
    });
}
