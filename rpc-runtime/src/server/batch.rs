//! A batch: its entries run side by side and are answered in one array.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};

use crate::codec::de::Elements;
use crate::codec::error_code::ProtocolError;
use crate::codec::request::Request;
use crate::permit::{Permit, PermitSlot};
use crate::server::buffers::{BatchBuffers, EntryBuffers};
use crate::server::call_task::CallSite;
use crate::server::invoke::{Invocation, PreparedCall, prepare};
use crate::service::router::Router;

/// Serves the entries and leaves the array of their replies in `buffers`.
pub(super) async fn serve<R: Router>(
    site: &CallSite<R>,
    permit: &PermitSlot,
    entries: Elements<'_, '_>,
    buffers: &mut BatchBuffers,
) {
    buffers.out.clear();
    let connection = &site.connection;
    let limits = connection.limits();
    if entries.len() == 0 {
        return buffers.reject(ProtocolError::InvalidRequest("an empty batch"));
    }
    if entries.len() > limits.batch {
        return buffers.reject(ProtocolError::BatchTooLarge);
    }
    // An entry that is done at its first poll runs in `first`. One that waits keeps that place, and later ones are boxed.
    let mut running = Running {
        first: pin!(None),
        boxed: Vec::new(),
    };
    let mut left = entries.len();
    for value in entries {
        let mut entry = buffers
            .entries
            .pop()
            .unwrap_or_else(|| connection.entry_buffers());
        let Some(call) = prepare(site, Request::read(value), &mut entry.reply) else {
            left -= 1;
            buffers.collect(entry, limits.reply, left);
            continue;
        };
        // The batch's own permit is for one entry; each that runs beside another needs one more.
        let mut own_permit = None;
        while own_permit.is_none() && running.is_waiting() {
            own_permit = connection.try_permit();
            if own_permit.is_none() {
                let done = running.next_done().await;
                left -= 1;
                buffers.collect(done, limits.reply, left);
            }
        }
        let permits = (permit, own_permit);
        running.add(run(site, permits, entry, call));
        if let Some(done) = poll_fn(|cx| Poll::Ready(running.poll_newest(cx))).await {
            left -= 1;
            buffers.collect(done, limits.reply, left);
        }
    }
    while running.is_waiting() {
        let done = running.next_done().await;
        left -= 1;
        buffers.collect(done, limits.reply, left);
    }
    if !buffers.out.is_empty() {
        buffers.out.push(b']');
    }
}

/// Runs one entry, with its own permit or the batch's.
async fn run<R: Router>(
    site: &CallSite<R>,
    (batch_permit, own_permit): (&PermitSlot, Option<Permit>),
    mut entry: EntryBuffers,
    call: PreparedCall<'_, '_>,
) -> EntryBuffers {
    let has_own = own_permit.is_some();
    let own_permit = PermitSlot::new(own_permit);
    let invocation = Invocation {
        site,
        call,
        permit: if has_own { &own_permit } else { batch_permit },
        // An array has no room for items.
        exchange: None,
    };
    invocation.run(&mut entry.context, &mut entry.reply).await;
    entry
}

/// The entries that are running.
struct Running<'f, F> {
    first: Pin<&'f mut Option<F>>,
    boxed: Vec<Pin<Box<F>>>,
}

impl<F: Future> Running<'_, F> {
    fn is_waiting(&self) -> bool {
        self.first.is_some() || !self.boxed.is_empty()
    }

    /// Adds an entry, which [`poll_newest`](Self::poll_newest) starts.
    fn add(&mut self, entry: F) {
        match self.first.is_none() {
            true => self.first.set(Some(entry)),
            false => self.boxed.push(Box::pin(entry)),
        }
    }

    /// Polls the entry that was added last, once. Returns its result if it is done.
    fn poll_newest(&mut self, cx: &mut TaskContext<'_>) -> Option<F::Output> {
        let Some(newest) = self.boxed.last_mut() else {
            return self.poll_first(cx);
        };
        let Poll::Ready(done) = newest.as_mut().poll(cx) else {
            return None;
        };
        self.boxed.pop();
        Some(done)
    }

    /// Waits for the next entry that is done.
    async fn next_done(&mut self) -> F::Output {
        poll_fn(|cx| {
            if let Some(done) = self.poll_first(cx) {
                return Poll::Ready(done);
            }
            for index in 0..self.boxed.len() {
                if let Poll::Ready(done) = self.boxed[index].as_mut().poll(cx) {
                    drop(self.boxed.swap_remove(index));
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }

    fn poll_first(&mut self, cx: &mut TaskContext<'_>) -> Option<F::Output> {
        let Poll::Ready(done) = self.first.as_mut().as_pin_mut()?.poll(cx) else {
            return None;
        };
        self.first.set(None);
        Some(done)
    }
}
