//! Serves a batch: its entries run concurrently, and one array holds their replies.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::codec::de::Elements;
use crate::codec::error_code::{ProtocolError, Setting};
use crate::codec::request::Request;
use crate::memory::MemoryCharge;
use crate::permit::{Permit, PermitSlot};
use crate::server::buffers::{
    BatchBuffers, EntryBuffers, RETAINED_ENTRY_BYTES, SMALL_MESSAGE_BYTES,
};
use crate::server::call_task::CallSite;
use crate::server::connection::ServerConnection;
use crate::server::invoke::{Invocation, PreparedCall, passes, prepare};
use crate::service::router::Router;

/// Serves the entries of a batch that was received at `received`, and writes the array of their replies to `buffers`.
pub(super) async fn serve<R: Router>(
    (site, received): (&CallSite<R>, Instant),
    permit: &PermitSlot,
    entries: Elements<'_, '_>,
    buffers: &mut BatchBuffers,
) {
    buffers.out.clear();
    let connection = &site.connection;
    if let Some(error) = rejection(connection, entries.len()) {
        return buffers.reject(error);
    }
    // An entry that is ready at its first poll runs in this slot. The first entry that waits keeps the slot, and later
    // entries are boxed.
    let first = pin!(None);
    let mut running = Running::new(first);
    let mut replies = EntryReplies {
        left: entries.len(),
        connection,
        charge: MemoryCharge::new(connection.memory(), 0),
        buffers,
    };
    for value in entries {
        let spare = replies.buffers.entries.pop();
        let mut entry = spare.unwrap_or_else(|| connection.entry_buffers());
        entry.context.set_defaults(site.defaults.as_ref());
        let request = Request::read(value);
        let Some(call) = prepare(site, request, &mut entry.reply) else {
            replies.collect(entry);
            continue;
        };
        let call = call.received_at(Some(received));
        // The batch's permit allows one entry at a time. An entry needs a permit of its own if another entry is waiting, or
        // if the thread of a blocking handler holds the batch's permit.
        let own_permit = loop {
            if !running.is_waiting() && permit.is_here() {
                break None;
            }
            if let Some(permit) = connection.try_permit() {
                break Some(permit);
            }
            if !running.is_waiting() {
                break wait_for_permit(site, &call).await;
            }
            replies.collect(running.next_done().await);
        };
        if own_permit.is_none() && !permit.is_here() {
            entry
                .reply
                .reject(call.rejection(connection.reached_limit()));
            replies.collect(entry);
            continue;
        }
        running.add(run(site, (permit, own_permit), entry, call));
        while let Some(done) = poll_fn(|cx| Poll::Ready(running.poll_newest(cx))).await {
            replies.collect(done);
        }
    }
    while running.is_waiting() {
        replies.collect(running.next_done().await);
    }
    if !replies.buffers.out.is_empty() {
        replies.buffers.out.push(b']');
    }
}

/// Returns the error for a batch with this number of entries, if it is rejected.
fn rejection<R: Router>(connection: &ServerConnection<R>, entries: usize) -> Option<ProtocolError> {
    let error = match entries {
        0 => ProtocolError::InvalidRequest("an empty batch"),
        _ if entries > connection.limits().max_batch_entries => connection.batch_too_large(),
        _ => return None,
    };
    connection.abuse().record_wasted();
    connection.report_rejected(error);
    Some(error)
}

/// The replies of a batch.
struct EntryReplies<'b, R> {
    buffers: &'b mut BatchBuffers,
    connection: &'b ServerConnection<R>,
    /// Number of entries without a reply.
    left: usize,
    /// Counts the replies while they wait for those of other entries, if they are large.
    charge: MemoryCharge,
}

impl<R: Router> EntryReplies<'_, R> {
    fn collect(&mut self, entry: EntryBuffers) {
        self.left -= 1;
        let is_large = self.buffers.out.len() > RETAINED_ENTRY_BYTES;
        let full = match is_large {
            true => self.connection.full_of_batch(entry.reply.bytes().len()),
            false => None,
        };
        let limit = self.connection.limits().max_response_bytes;
        let setting = || Setting::new("max_response_bytes", limit);
        let limit = match full {
            Some(full) => (0, ProtocolError::NoRoomForBatchReply(full)),
            None => (limit, ProtocolError::BatchReplyTooLarge(setting())),
        };
        if self.buffers.collect(entry, limit, self.left) {
            self.connection.report_replaced(limit.1);
        }
        let bytes = self.buffers.out.capacity();
        if bytes > RETAINED_ENTRY_BYTES {
            self.charge.set(bytes);
        }
    }
}

/// Waits for a permit until the entry's deadline. Returns `None` at the deadline, or if the connection starts no more calls.
async fn wait_for_permit<R: Router>(
    site: &CallSite<R>,
    call: &PreparedCall<'_, '_>,
) -> Option<Permit> {
    tokio::select! {
        permit = site.connection.wait_for_permit() => permit,
        () = passes(call.deadline) => None,
        () = site.stream.was_reset() => None,
    }
}

/// Runs one entry, with its own permit or the batch's.
async fn run<R: Router>(
    site: &CallSite<R>,
    (batch_permit, own_permit): (&PermitSlot, Option<Permit>),
    mut entry: EntryBuffers,
    call: PreparedCall<'_, '_>,
) -> EntryBuffers {
    let copied_bytes = call.request.copied_bytes();
    let is_large = copied_bytes > SMALL_MESSAGE_BYTES;
    let _copies = is_large.then(|| MemoryCharge::new(site.connection.memory(), copied_bytes));
    let has_own = own_permit.is_some();
    let own_permit = PermitSlot::new(own_permit);
    let invocation = Invocation {
        site,
        call,
        permit: if has_own { &own_permit } else { batch_permit },
        // A batch cannot transfer items.
        exchange: None,
    };
    invocation.run(&mut entry.context, &mut entry.reply).await;
    entry
}

/// The entries that are running. Only woken entries are polled, so the cost of an entry does not depend on the number of
/// waiting entries.
struct Running<'f, F> {
    first: Pin<&'f mut Option<F>>,
    /// Created when a second entry waits.
    others: Option<FuturesUnordered<F>>,
    /// `true` if the entry that was added last is in `first`, and not in `others`.
    is_first_newest: bool,
}

impl<'f, F: Future> Running<'f, F> {
    fn new(first: Pin<&'f mut Option<F>>) -> Self {
        Self {
            first,
            others: None,
            is_first_newest: false,
        }
    }

    fn is_waiting(&self) -> bool {
        let others = self.others.as_ref();
        self.first.is_some() || others.is_some_and(|others| !others.is_empty())
    }

    /// Adds an entry, which [`poll_newest`](Self::poll_newest) starts.
    fn add(&mut self, entry: F) {
        self.is_first_newest = self.first.is_none();
        match self.is_first_newest {
            true => self.first.set(Some(entry)),
            false => self.others.get_or_insert_default().push(entry),
        }
    }

    /// Polls the entry that was added last, once. May instead return the result of another entry that is done; then the
    /// caller polls again.
    fn poll_newest(&mut self, cx: &mut TaskContext<'_>) -> Option<F::Output> {
        match self.is_first_newest {
            true => self.poll_first(cx),
            false => self.poll_others(cx),
        }
    }

    /// Waits until an entry is done.
    async fn next_done(&mut self) -> F::Output {
        poll_fn(|cx| {
            let done = self.poll_first(cx).or_else(|| self.poll_others(cx));
            done.map_or(Poll::Pending, Poll::Ready)
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

    fn poll_others(&mut self, cx: &mut TaskContext<'_>) -> Option<F::Output> {
        match pin!(self.others.as_mut()?).poll_next(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => None,
        }
    }
}
