//! Tests with calls of several addresses that take, wait for and return permits, under many schedules:
//! `cargo test -p rpc-runtime --features __shuttle --lib shuttle`.

use std::pin::pin;
use std::task::Poll;

use shuttle::future::{block_on, spawn, yield_now};

use super::*;
use crate::permit::Permit;
use crate::sync::atomic::AtomicUsize;

/// Number of schedules that are tried.
const SCHEDULES: usize = 2000;

/// Number of calls that each task makes.
const CALLS: usize = 3;

/// Makes calls. Every other call waits only if it finds no free permit at once, and every third call is dropped while it
/// waits.
async fn call(calls: Arc<ConnectionCalls>, running: Arc<AtomicUsize>, max: usize) {
    for number in 0..CALLS {
        let at_once = Permit::try_obtain(&calls).filter(|_| number % 2 == 0);
        let permit = match at_once {
            Some(permit) => permit,
            None => {
                let mut waiting = pin!(Permit::obtain(&calls));
                let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
                yield_now().await;
                match first {
                    Poll::Ready(permit) => permit.unwrap(),
                    Poll::Pending if number == 1 => continue,
                    Poll::Pending => waiting.await.unwrap(),
                }
            }
        };
        assert!(running.fetch_add(1, Ordering::SeqCst) < max);
        yield_now().await;
        running.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
    }
}

fn every_call_ends(max: usize, peers: &[&str]) {
    block_on(async {
        let limits = CallLimits::new(&Limits {
            max_concurrent_calls: max,
            ..Limits::default()
        });
        let running = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for peer in peers {
            let calls = limits.connect(Some(peer.parse().unwrap()));
            for _ in 0..2 {
                tasks.push(spawn(call(Arc::clone(&calls), Arc::clone(&running), max)));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        let peers = lock(&limits.peers);
        assert!(peers.addresses.0.is_empty() && peers.networks.0.is_empty());
        assert_eq!(limits.permits.taken(), 0);
        assert_eq!(limits.queue().len(), 0);
    });
}

#[test]
fn schedules_lose_no_waiting_call_and_no_permit() {
    for max in [1, 2, 3] {
        let test = move || every_call_ends(max, &["192.0.2.1", "192.0.2.2"]);
        shuttle::check_random(test, SCHEDULES);
        let test = move || every_call_ends(max, &["2001:db8:0:1201::1", "2001:db8:0:1202::1"]);
        shuttle::check_random(test, SCHEDULES);
    }
}
