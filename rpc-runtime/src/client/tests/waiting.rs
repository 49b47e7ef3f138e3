//! Tests of callers that wait for room in a shared stream.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;

use super::{Calculator, DeskClient, DeskServer, run_until_idle, soon};
use crate::client::handle::Client;

/// A future whose polls are counted.
struct Counted<F>(Pin<Box<F>>, Arc<AtomicUsize>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.as_mut().poll(cx)
    }
}

/// Makes this number of calls at once; nearly all must wait for room. Returns the number of polls for each call.
async fn polls_per_call(calls: usize) -> f64 {
    let desk = DeskClient::new(Client::local(DeskServer::new(Calculator)));
    let text = "x".repeat(2_000);
    let polls = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        let call = Box::pin(desk.length(&text));
        tasks.spawn(Counted(call, Arc::clone(&polls)));
    }
    while let Some(length) = soon(tasks.join_next()).await {
        assert_eq!(length.unwrap().unwrap(), text.len());
    }
    polls.load(Ordering::Relaxed) as f64 / calls as f64
}

#[tokio::test]
async fn polls_of_a_waiting_call_do_not_grow_with_the_number_of_calls() {
    // The first poll waits, the second queues the request, and the third finds the reply.
    for calls in [1_000, 8_000] {
        let polls = polls_per_call(calls).await;
        assert!(polls <= 3.1, "{calls} calls: {polls} polls each");
    }
}

#[tokio::test]
async fn waiting_call_that_is_dropped_leaves_its_room_to_the_next() {
    let desk = DeskClient::new(Client::local(DeskServer::new(Calculator)));
    let text = "x".repeat(2_000);
    let mut kept = JoinSet::new();
    let mut dropped = JoinSet::new();
    for _ in 0..1_000 {
        kept.spawn(desk.length(&text).into_future());
        dropped.spawn(desk.length(&text).into_future());
    }
    run_until_idle().await;
    dropped.shutdown().await;
    for length in soon(kept.join_all()).await {
        assert_eq!(length.unwrap(), text.len());
    }
}

/// A task polls many calls until one has ended, and then makes another call without polling the calls that it still holds.
#[tokio::test]
async fn woken_calls_that_are_not_polled_hold_up_no_others() {
    let desk = DeskClient::new(Client::local(DeskServer::new(Calculator)));
    let text = "x".repeat(2_000);
    let mut calls: FuturesUnordered<_> = (0..1_000).map(|_| desk.length(&text)).collect();
    assert_eq!(soon(calls.next()).await.unwrap().unwrap(), text.len());
    let others = (0..1_000).map(|_| desk.length(&text).into_future());
    let others: JoinSet<_> = others.collect();
    assert_eq!(soon(desk.length(&text)).await.unwrap(), text.len());
    soon(others.join_all()).await;
    let rest = pin!(calls.count());
    assert_eq!(soon(rest).await, 999);
}
