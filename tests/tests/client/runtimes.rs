//! Clients that are used from several runtimes and executors, some of which have been dropped.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use rpc_runtime::{Call, CallError, Client, rpc};
use tests::support::current_thread;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn hang(&self) -> i64;
}

struct Counter;

impl Desk for Counter {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn hang(&self) -> i64 {
        std::future::pending().await
    }
}

const LONG: Duration = Duration::from_secs(20);

fn elsewcurrent_thread() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn desk(home: &Runtime) -> DeskClient {
    let _guard = home.enter();
    DeskClient::new(Client::local(DeskServer::new(Counter)))
}

#[test]
fn timer_of_a_dropped_runtime_is_not_reused() {
    let home = current_thread();
    let desk = desk(&home);
    let call = || desk.add(1, 2).timeout(LONG);
    current_thread().block_on(async {
        let _ = timeout(Duration::ZERO, call()).await;
    });
    for _ in 0..5 {
        let called = catch_unwind(AssertUnwindSafe(|| home.block_on(async { call().await })));
        assert_eq!(called.unwrap().unwrap(), 3);
    }
}

#[test]
fn timeout_ends_a_call_in_any_runtime() {
    let home = elsewcurrent_thread();
    let desk = desk(&home);
    let idle = current_thread();
    idle.block_on(async { desk.add(1, 2).timeout(LONG).await })
        .unwrap();
    let ended = current_thread().block_on(async {
        let late = desk.hang().timeout(Duration::from_millis(50));
        timeout(LONG, late).await
    });
    assert!(matches!(ended, Ok(Err(CallError::Timeout))), "{ended:?}");
}

#[test]
fn calls_end_with_the_runtime_of_their_client() {
    let home = elsewcurrent_thread();
    let desk = desk(&home);
    let waiting = desk.hang();
    let mut waiting = pin!(waiting);
    home.block_on(async {
        let _ = timeout(Duration::ZERO, waiting.as_mut()).await;
        desk.add(1, 2).await.unwrap();
    });
    drop(home);
    let (first, second) = current_thread().block_on(async {
        (
            timeout(LONG, waiting).await,
            timeout(LONG, desk.add(1, 2)).await,
        )
    });
    assert!(
        matches!(first, Ok(Err(CallError::Connection { .. }))),
        "{first:?}"
    );
    assert!(
        matches!(second, Ok(Err(CallError::Connection { .. }))),
        "{second:?}"
    );
}

type Pending = Pin<Box<Call<i64, Infallible>>>;

/// A task of a dropped executor: waking it drops its future.
struct Gone(Mutex<Option<Pending>>);

impl Wake for Gone {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn waker_that_drops_the_call_does_not_deadlock() {
    let home = elsewcurrent_thread();
    let client = {
        let _guard = home.enter();
        Client::local(DeskServer::new(Counter))
    };
    let desk = DeskClient::new(client.clone());
    let task = Arc::new(Gone(Mutex::new(Some(Box::pin(desk.hang())))));
    let waker = Waker::from(Arc::clone(&task));
    {
        let _guard = home.enter();
        let mut call = task.0.lock().unwrap();
        let call = call.as_mut().unwrap().as_mut();
        assert!(call.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        home.block_on(async { client.close().await });
        done.send(home).unwrap();
    });
    assert!(is_done.recv_timeout(LONG).is_ok(), "it is locked up");
}

struct NoTask;

impl Wake for NoTask {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn finished_call_keeps_no_waker() {
    let home = current_thread();
    let desk = desk(&home);
    home.block_on(async {
        let task = Arc::new(NoTask);
        let waker = Waker::from(Arc::clone(&task));
        let mut call = desk.add(1, 2).timeout(Duration::from_secs(3600));
        while Pin::new(&mut call)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
        {
            tokio::task::yield_now().await;
        }
        drop((call, waker));
        assert_eq!(Arc::strong_count(&task), 1);
    });
}
