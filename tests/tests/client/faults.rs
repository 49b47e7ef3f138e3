//! Results of calls over a faulty network, compared with the executed calls. `RELIABILITY.md` has the longer run.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rpc_runtime::{CallError, Client, Identity, Limits, Server, Trust, rpc};
use tests::call_log::{CallOptions, CallResult, Streams};
use tests::harness::Harness;
use tests::relay::Faults;
use tests::seed::seed;
use tests::support::{current_thread, eventually, soon};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Faults of every kind, with this loss.
fn bad_network(loss: f64) -> Faults {
    Faults {
        loss,
        duplication: 0.05,
        corruption: 0.001,
        reordering: 0.25,
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
    }
}

/// Makes calls over a faulty network, all of which succeed.
async fn all_are_answered(loss: f64, calls: usize) {
    let harness = Harness::start(seed()).await;
    harness.relay.set_faults(bad_network(loss));
    let options = CallOptions {
        streams: Streams::Mixed,
        ..CallOptions::default()
    };
    let load = Arc::clone(&harness.call_log).load(harness.ledger.clone(), calls, 32, options);
    soon(load).await;
    let counts = harness.relay.counts();
    let figures = soon(harness.finish()).await;
    assert_eq!(figures.count(CallResult::Ok), calls, "{figures} {counts:?}");
    assert!(counts.lost > 0, "{counts:?}");
    assert!(counts.reordered > 0, "{counts:?}");
}

#[tokio::test]
async fn calls_with_one_percent_of_loss_succeed() {
    all_are_answered(0.01, 4000).await;
}

#[tokio::test]
async fn calls_with_five_percent_of_loss_succeed() {
    all_are_answered(0.05, 1000).await;
}

#[tokio::test]
async fn calls_with_twenty_percent_of_loss_succeed() {
    all_are_answered(0.2, 500).await;
}

#[tokio::test]
async fn timed_out_call_is_executed_at_most_once() {
    let harness = Harness::start(seed()).await;
    harness.relay.set_faults(bad_network(0.05));
    let options = CallOptions {
        // About the time of a round trip.
        timeout: Some(Duration::from_millis(6)),
        streams: Streams::Mixed,
        ..CallOptions::default()
    };
    let load = Arc::clone(&harness.call_log).load(harness.ledger.clone(), 1000, 32, options);
    soon(load).await;
    let figures = soon(harness.finish()).await;
    assert!(figures.count(CallResult::Timeout) > 0, "{figures}");
    let ended = figures.count(CallResult::Ok) + figures.count(CallResult::Timeout);
    assert_eq!(ended, 1000, "{figures}");
}

/// Makes calls, and lets no datagram through for `length`. As nothing arrives in that time, the clock is paused and
/// jumps from timer to timer. It is still paused afterwards.
async fn through_a_blackhole(length: Duration) -> (Harness, tokio::task::JoinHandle<()>) {
    let harness = Harness::start(seed()).await;
    harness.relay.set_faults(bad_network(0.01));
    let options = CallOptions {
        streams: Streams::Mixed,
        ..CallOptions::default()
    };
    let load = Arc::clone(&harness.call_log).load(harness.ledger.clone(), 400, 16, options);
    let load = tokio::spawn(load);
    soon(harness.call_log.has_ended(100)).await;
    harness.relay.set_blackhole(true);
    tokio::time::pause();
    sleep(length).await;
    harness.relay.set_blackhole(false);
    (harness, load)
}

#[tokio::test]
async fn calls_in_a_blackhole_shorter_than_the_idle_timeout_succeed() {
    let (harness, load) = through_a_blackhole(Duration::from_secs(5)).await;
    soon(harness.relay.has_delivered(1)).await;
    tokio::time::resume();
    soon(load).await.unwrap();
    let counts = harness.relay.counts();
    let figures = soon(harness.finish()).await;
    assert!(counts.swallowed > 0, "{counts:?}");
    assert_eq!(figures.count(CallResult::Ok), 400, "{figures}");
}

#[tokio::test]
async fn calls_in_a_blackhole_longer_than_the_idle_timeout_may_have_been_executed() {
    let (harness, load) = through_a_blackhole(Duration::from_secs(20)).await;
    tokio::time::resume();
    soon(load).await.unwrap();
    let figures = soon(harness.finish()).await;
    assert_eq!(figures.calls(), 400);
    // 16 calls are in flight, and each may be followed by one that is queued before the loss is noticed.
    let lost = figures.count(CallResult::MayHaveExecuted);
    assert!((1..=32).contains(&lost), "{figures}");
    // The idle timeout is 15 s.
    assert!(figures.longest() < Duration::from_secs(16), "{figures}");
}

#[tokio::test]
async fn large_response_survives_a_change_of_address() {
    const BYTES: usize = 1 << 20;
    let harness = Harness::start(seed()).await;
    harness.relay.set_faults(Faults {
        delay: Duration::from_millis(2),
        ..Faults::default()
    });
    // The first response arrives on the shared stream. Because it is large, later calls of the method use dedicated
    // streams.
    let mut in_the_middle = 0;
    for _ in 0..4 {
        let (call_log, ledger) = (Arc::clone(&harness.call_log), harness.ledger.clone());
        let call = tokio::spawn(async move { call_log.fetch(&ledger, BYTES).await });
        soon(harness.relay.has_delivered(BYTES as u64 / 3)).await;
        harness.relay.rebind().unwrap();
        in_the_middle += usize::from(!call.is_finished());
        assert_eq!(soon(call).await.unwrap(), CallResult::Ok);
    }
    assert!(in_the_middle > 0);
    soon(harness.finish()).await;
}

/// Shuts the server down under load: running calls succeed, and all other calls are reported as not executed.
async fn a_shutdown_loses_no_call(streams: Streams) {
    const CALLS: usize = 2000;
    let harness = Harness::start(seed()).await;
    harness.relay.set_faults(bad_network(0.01));
    let options = CallOptions {
        work: Duration::from_millis(3),
        streams,
        ..CallOptions::default()
    };
    let load = Arc::clone(&harness.call_log).load(harness.ledger.clone(), CALLS, 32, options);
    let load = tokio::spawn(load);
    soon(harness.call_log.has_ended(CALLS / 4)).await;
    let finished = soon(harness.server.shutdown(Duration::from_secs(30))).await;
    assert!(finished, "a call was aborted");
    soon(load).await.unwrap();
    let figures = soon(harness.finish()).await;
    let refused = figures.count(CallResult::NotSent) + figures.count(CallResult::NotExecuted);
    assert!(refused > 0, "{figures}");
    assert_eq!(figures.count(CallResult::Ok) + refused, CALLS, "{figures}");
}

#[tokio::test]
async fn shutdown_loses_no_call_on_a_shared_stream() {
    a_shutdown_loses_no_call(Streams::Shared).await;
}

#[tokio::test]
async fn shutdown_loses_no_call_on_a_dedicated_stream() {
    a_shutdown_loses_no_call(Streams::Own).await;
}

#[tokio::test]
async fn shutdown_waits_until_the_last_response_has_arrived() {
    let harness = Harness::start(seed()).await;
    let options = CallOptions {
        work: Duration::from_millis(100),
        streams: Streams::Own,
        ..CallOptions::default()
    };
    let load = Arc::clone(&harness.call_log).load(harness.ledger.clone(), 1, 1, options);
    let load = tokio::spawn(load);
    eventually(|| !harness.journal.entries().unwrap().is_empty()).await;
    // The response, with the end of its stream, is lost again and again.
    harness.relay.set_blackhole(true);
    let server = harness.server.clone();
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(30)).await });
    tokio::time::pause();
    sleep(Duration::from_secs(5)).await;
    assert!(
        !shutdown.is_finished(),
        "the shutdown did not wait for the response"
    );
    harness.relay.set_blackhole(false);
    soon(harness.relay.has_delivered(1)).await;
    tokio::time::resume();
    soon(load).await.unwrap();
    assert!(soon(shutdown).await.unwrap(), "a call was aborted");
    let figures = soon(harness.finish()).await;
    assert_eq!(figures.count(CallResult::Ok), 1, "{figures}");
}

#[tokio::test]
async fn result_that_contradicts_the_journal_is_reported() {
    let harness = Harness::start(seed()).await;
    for _ in 0..2 {
        let result = harness
            .call_log
            .enter(&harness.ledger, CallOptions::default())
            .await;
        assert_eq!(result, CallResult::Ok);
    }
    let verify =
        |journal: &[(u64, usize)]| harness.call_log.verify(&journal.iter().copied().collect());
    assert!(verify(&[(0, 1), (1, 1)]).is_ok());
    for wrong in [&[(0, 1)][..], &[(0, 1), (1, 2)], &[(0, 1), (1, 1), (2, 1)]] {
        verify(wrong).unwrap_err();
    }
}

#[rpc]
trait Slow {
    async fn hang(&self);
    async fn nothing(&self);
}

/// The number of running handlers.
#[derive(Clone)]
struct Handlers(watch::Sender<usize>);

struct Hanging<'a>(&'a watch::Sender<usize>);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|hanging| *hanging -= 1);
    }
}

impl Slow for Handlers {
    async fn hang(&self) {
        self.0.send_modify(|hanging| *hanging += 1);
        let _hanging = Hanging(&self.0);
        std::future::pending().await
    }

    async fn nothing(&self) {}
}

impl Handlers {
    async fn holds(&self, hanging: usize) {
        let mut now = self.0.subscribe();
        soon(now.wait_for(|now| *now == hanging)).await.unwrap();
    }
}

/// The number of calls of a round, as many as a connection may have in flight.
const ROUND: usize = 128;

/// Cancels calls: before the server knows of them, while they run, on dedicated streams, and by their timeouts.
async fn cancel_calls(slow: &SlowClient, handlers: &Handlers, calls: usize) {
    for round in 0..calls.div_ceil(ROUND) {
        let hang = || match round % 4 {
            2 => slow.hang().dedicated_stream(),
            3 => slow.hang().timeout(Duration::from_millis(1)),
            _ => slow.hang(),
        };
        // The server grants a hundred streams.
        let in_flight = if round % 4 == 2 { ROUND / 2 } else { ROUND };
        let mut calls: Vec<_> = (0..in_flight).map(|_| hang()).collect();
        let mut ended = 0;
        let mut look = async |until: usize| {
            poll_fn(|cx| {
                calls.retain_mut(|call| match Pin::new(call).poll(cx) {
                    Poll::Pending => true,
                    Poll::Ready(Err(CallError::Timeout)) => {
                        ended += 1;
                        false
                    }
                    Poll::Ready(other) => panic!("{other:?}"),
                });
                if ended >= until {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        };
        look(0).await;
        match round % 4 {
            0 => {}
            3 => soon(look(in_flight)).await,
            _ => handlers.holds(in_flight).await,
        }
        drop(calls);
        // The server has processed all earlier messages when it responds to this call.
        soon(slow.nothing()).await.unwrap();
        handlers.holds(0).await;
    }
}

fn cancelled_calls_are_released(calls: usize) {
    /// Buffers may grow with the number of concurrent calls, but not with each call.
    const BYTES: i64 = 512 << 10;
    const ALLOCATIONS: i64 = 500;
    let runtime = current_thread();
    let handlers = Handlers(watch::Sender::new(0));
    let (slow, handle) = runtime.block_on(async {
        let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
        let trust = Trust::certificate(identity.certificate());
        let limits = Limits {
            max_net_cancellations: usize::MAX,
            ..Limits::default()
        };
        let server = Server::builder(identity)
            .limits(limits)
            .service(SlowServer::new(handlers.clone()));
        let server = server.bind("127.0.0.1:0").unwrap();
        let (address, handle) = (server.local_addr().unwrap(), server.handle());
        tokio::spawn(server.run());
        let client = Client::builder().trust(trust).connect(address).await;
        (SlowClient::new(client.unwrap()), handle)
    });
    let tasks = || runtime.metrics().num_alive_tasks();
    let wait_for_tasks = async |most: usize| {
        eventually(|| tasks() <= most).await;
    };
    runtime.block_on(cancel_calls(&slow, &handlers, calls / 10));
    let before = tasks();
    let start = Instant::now();
    let measured = allocation_counter::measure(|| {
        runtime.block_on(cancel_calls(&slow, &handlers, calls));
    });
    let took = start.elapsed();
    println!(
        "{calls} calls in {took:?}: {} bytes in {} allocations more, {} tasks more",
        measured.bytes_current,
        measured.count_current,
        tasks() as i64 - before as i64
    );
    assert!(measured.bytes_current < BYTES, "{measured:?}");
    assert!(measured.count_current < ALLOCATIONS, "{measured:?}");
    runtime.block_on(async {
        wait_for_tasks(before).await;
        // All permits are free again.
        let calls: Vec<_> = (0..ROUND).map(|_| tokio::spawn(slow.hang())).collect();
        handlers.holds(ROUND).await;
        calls.iter().for_each(|call| call.abort());
        handlers.holds(0).await;
        assert!(handle.shutdown(Duration::from_secs(10)).await);
    });
}

#[test]
fn thousands_of_cancelled_calls_leave_no_tasks_and_bounded_memory() {
    cancelled_calls_are_released(10_000);
}

#[test]
#[ignore = "takes minutes: cargo test --release -p tests --test client -- --ignored --nocapture million"]
fn million_cancelled_calls_leave_no_tasks_and_bounded_memory() {
    cancelled_calls_are_released(1_000_000);
}
