//! A batch: its entries run side by side and are answered in one array.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};

use crate::codec::de::Elements;
use crate::codec::error_code::ProtocolError;
use crate::codec::request::Request;
use crate::server::admit::{PreparedCall, admit};
use crate::server::buffers::{BatchBuffers, EntryBuffers};
use crate::server::connection::{Permit, ServerConnection};
use crate::server::invoke::answer;
use crate::server::stream::ServerStream;
use crate::service::Router;

/// Serves the entries and leaves the array of their replies in `scratch`.
pub(super) async fn serve<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    entries: Elements<'_, '_>,
    scratch: &mut BatchBuffers,
) {
    scratch.out.clear();
    let limits = connection.limits();
    if entries.len() == 0 {
        return scratch.refuse(ProtocolError::InvalidRequest("an empty batch"));
    }
    if entries.len() > limits.batch {
        return scratch.refuse(ProtocolError::BatchTooLarge);
    }
    // An entry that is done at once runs in `first`. One that waits keeps that place, and those behind it get boxes.
    let mut first = pin!(None);
    let mut boxed = Vec::new();
    let mut left = entries.len();
    for value in entries {
        let mut desk = scratch.desks.pop().unwrap_or_else(|| connection.desk());
        let Some(call) = admit(connection, lane, Request::read(value), &mut desk.reply) else {
            left -= 1;
            scratch.collect(desk, limits.reply, left);
            continue;
        };
        // The batch's own permit is for one entry; each that runs beside another needs one more.
        let mut permit = None;
        while permit.is_none() && is_waiting(&first, &boxed) {
            permit = connection.try_permit();
            if permit.is_none() {
                let done = next_done(first.as_mut(), &mut boxed).await;
                left -= 1;
                scratch.collect(done, limits.reply, left);
            }
        }
        let entry = run(connection, lane, desk, call, permit);
        if first.is_none() {
            first.set(Some(entry));
        } else {
            boxed.push(Box::pin(entry));
        }
        if let Some(done) = poll_newest(first.as_mut(), &mut boxed).await {
            left -= 1;
            scratch.collect(done, limits.reply, left);
        }
    }
    while is_waiting(&first, &boxed) {
        let done = next_done(first.as_mut(), &mut boxed).await;
        left -= 1;
        scratch.collect(done, limits.reply, left);
    }
    if !scratch.out.is_empty() {
        scratch.out.push(b']');
    }
}

async fn run<R: Router>(
    connection: &ServerConnection<R>,
    lane: &ServerStream,
    mut desk: EntryBuffers,
    call: PreparedCall<'_, '_>,
    permit: Option<Permit>,
) -> EntryBuffers {
    let EntryBuffers { context, reply } = &mut desk;
    // An array has no room for items.
    answer(connection, lane, call, context, reply, None).await;
    drop(permit);
    desk
}

type First<'f, F> = Pin<&'f mut Option<F>>;

fn is_waiting<F>(first: &Option<F>, boxed: &[Pin<Box<F>>]) -> bool {
    first.is_some() || !boxed.is_empty()
}

/// Polls the entry that was started last, once.
async fn poll_newest<F: Future>(
    mut first: First<'_, F>,
    boxed: &mut Vec<Pin<Box<F>>>,
) -> Option<F::Output> {
    poll_fn(|cx| {
        if let Some(newest) = boxed.last_mut() {
            let Poll::Ready(done) = newest.as_mut().poll(cx) else {
                return Poll::Ready(None);
            };
            boxed.pop();
            return Poll::Ready(Some(done));
        }
        Poll::Ready(poll_first(first.as_mut(), cx))
    })
    .await
}

/// Waits for the next entry that is done.
async fn next_done<F: Future>(mut first: First<'_, F>, boxed: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        if let Some(done) = poll_first(first.as_mut(), cx) {
            return Poll::Ready(done);
        }
        for index in 0..boxed.len() {
            if let Poll::Ready(done) = boxed[index].as_mut().poll(cx) {
                drop(boxed.swap_remove(index));
                return Poll::Ready(done);
            }
        }
        Poll::Pending
    })
    .await
}

fn poll_first<F: Future>(mut first: First<'_, F>, cx: &mut TaskContext<'_>) -> Option<F::Output> {
    let Poll::Ready(done) = first.as_mut().as_pin_mut()?.poll(cx) else {
        return None;
    };
    first.set(None);
    Some(done)
}
