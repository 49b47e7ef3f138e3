//! The calls of a stream whose handlers are waiting. A cancellation finds them by id.
//!
//! Most calls end when their handler is first polled, and are never entered. A cancellation is sent on another stream than
//! its call, so it may arrive first. It names the offset in the stream at which its request ends, so the stream knows
//! whether the request has been read. If not, the cancellation is kept until the request has been read.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::codec::id::{Id, IdBuffer};
use crate::codec::steps;
use crate::server::id_index::{HashedId, IdIndex};
use crate::slots::Slots;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::waker::WakerSlot;

/// Maximum number of cancellations of a stream that wait for their requests. Further cancellations are ignored, and their
/// calls run.
const MAX_EARLY_CANCELS: usize = 1024;

/// The calls in flight of one stream.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    table: Mutex<Table>,
    /// The offset up to which all messages of the stream have been answered or entered.
    processed: AtomicU64,
    has_early: AtomicBool,
    /// Number of waiting calls. Written under the lock, read without it.
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    entries: Slots<CallEntry>,
    /// The entries of calls with ids.
    index: IdIndex,
    early: BTreeSet<EarlyCancel>,
    /// `true` if the stream was reset. Waiting calls are then cancelled, and so are calls that are entered later.
    is_reset: bool,
}

#[derive(Debug, Default)]
struct CallEntry {
    id: IdBuffer,
    /// The offset in the stream at which the request ends.
    offset: u64,
    is_used: bool,
    /// `true` if the call sends items.
    is_streaming: bool,
    stop: Option<StopReason>,
    waker: WakerSlot,
}

/// A cancellation that arrived before its request. Ordered by offset, the order in which requests are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct EarlyCancel {
    /// The offset in the stream at which the request ends.
    offset: u64,
    id: u64,
}

/// The reason why a waiting call is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    Cancelled,
    /// The server is shutting down, and the call's stream of items must end.
    ShuttingDown,
}

/// The entry of a call, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct InFlightEntry<'c> {
    in_flight: &'c InFlight,
    slot: usize,
}

impl InFlight {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Enters a waiting call whose request ends at `offset`.
    pub(super) fn enter(&self, id: Option<Id<'_>>, offset: u64) -> InFlightEntry<'_> {
        let mut table = self.table();
        let is_cancelled = table.is_reset || self.take_early(&mut table, id, offset);
        let slot = table.entries.take();
        let entry = table.entries.get_mut(slot);
        entry.id.set(id);
        entry.offset = offset;
        entry.is_used = true;
        entry.is_streaming = false;
        entry.stop = is_cancelled.then_some(StopReason::Cancelled);
        if let Some(id) = id {
            table.index.insert(slot, id);
        }
        self.count(&table);
        InFlightEntry {
            in_flight: self,
            slot,
        }
    }

    fn count(&self, table: &Table) {
        self.waiting.store(table.entries.used(), Ordering::Relaxed);
    }

    /// Returns `true` if no call waits. Takes no lock.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Cancels the call with this id. `offset` is the end of its request in this stream, if the client sent it.
    pub(super) fn cancel(&self, id: HashedId<'_>, offset: Option<u64>) {
        let mut table = self.table();
        if table.cancel(id, offset) {
            return;
        }
        let (Some(offset), Id::Unsigned(id)) = (offset, id.id) else {
            return;
        };
        let is_to_come = offset > self.processed.load(Ordering::SeqCst);
        if is_to_come && table.early.len() < MAX_EARLY_CANCELS {
            table.early.insert(EarlyCancel { offset, id });
            self.has_early.store(true, Ordering::SeqCst);
        }
    }

    /// Returns `true` if the call was cancelled before its handler was polled.
    #[inline]
    pub(super) fn was_cancelled(&self, id: Option<Id<'_>>, offset: u64) -> bool {
        self.has_early.load(Ordering::Relaxed) && self.take_early(&mut self.table(), id, offset)
    }

    #[cold]
    fn take_early(&self, table: &mut Table, id: Option<Id<'_>>, offset: u64) -> bool {
        let Some(Id::Unsigned(id)) = id else {
            return false;
        };
        let is_cancelled = table.early.remove(&EarlyCancel { offset, id });
        if is_cancelled {
            self.has_early
                .store(!table.early.is_empty(), Ordering::Relaxed);
        }
        is_cancelled
    }

    /// Records that all requests up to `offset` have been answered or entered. Drops cancellations of these requests.
    pub(super) fn record_processed(&self, offset: u64) {
        self.processed.store(offset, Ordering::Release);
        if self.has_early.load(Ordering::Relaxed) {
            let mut table = self.table();
            while table
                .early
                .first()
                .is_some_and(|early| early.offset <= offset)
            {
                steps::step();
                table.early.pop_first();
            }
            self.has_early
                .store(!table.early.is_empty(), Ordering::Relaxed);
        }
    }

    /// Returns `true` if any message of the stream was served.
    pub(super) fn has_processed(&self) -> bool {
        self.processed.load(Ordering::Relaxed) > 0
    }

    /// Cancels all calls, including calls that are entered later.
    pub(super) fn cancel_all(&self) {
        let mut table = self.table();
        if !std::mem::replace(&mut table.is_reset, true) {
            table.stop_where(StopReason::Cancelled, |_| true);
        }
    }

    /// Stops the calls that send items. Returns `true` if there were any.
    pub(super) fn stop_streaming(&self) -> bool {
        let is_streaming = |entry: &CallEntry| entry.is_streaming;
        self.table()
            .stop_where(StopReason::ShuttingDown, is_streaming)
    }

    /// Releases the memory of earlier simultaneous calls, if no call waits now.
    pub(super) fn release_idle_buffers(&self) {
        let mut table = self.table();
        if table.entries.release_if_unused() {
            table.index = IdIndex::default();
        }
    }

    #[cfg(test)]
    fn kept(&self) -> usize {
        self.table().early.len()
    }
}

impl Table {
    /// Cancels the calls with this id, and with this offset if there is one. Returns `true` if there were any.
    fn cancel(&mut self, id: HashedId<'_>, offset: Option<u64>) -> bool {
        let Self { entries, index, .. } = self;
        let mut is_known = false;
        for slot in index.find(id) {
            steps::step();
            let entry = entries.get_mut(slot);
            if entry.id.is(id.id) && offset.is_none_or(|offset| offset == entry.offset) {
                is_known = true;
                entry.stop(StopReason::Cancelled);
            }
        }
        is_known
    }

    /// Stops the calls that match. Returns `true` if a call was stopped that was not stopped before.
    fn stop_where(&mut self, reason: StopReason, matches: impl Fn(&CallEntry) -> bool) -> bool {
        let entries = self.entries.iter_mut();
        let matching = entries.filter(|entry| {
            steps::step();
            entry.is_used && matches(entry)
        });
        matching.fold(false, |found, entry| found | entry.stop(reason))
    }
}

impl CallEntry {
    /// Stops the call. Returns `false` if it was stopped before.
    fn stop(&mut self, reason: StopReason) -> bool {
        let is_running = self.stop.is_none();
        if is_running {
            self.stop = Some(reason);
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        is_running
    }
}

impl InFlightEntry<'_> {
    /// Resolves when the call is stopped. `is_streaming` is `true` once the call sends items.
    pub(super) fn poll_stopped(
        &self,
        is_streaming: bool,
        cx: &mut Context<'_>,
    ) -> Poll<StopReason> {
        let mut table = self.in_flight.table();
        let entry = table.entries.get_mut(self.slot);
        entry.is_streaming = is_streaming;
        if let Some(reason) = entry.stop {
            return Poll::Ready(reason);
        }
        let former = entry.waker.register(cx);
        drop(table);
        drop(former);
        Poll::Pending
    }
}

impl Drop for InFlightEntry<'_> {
    fn drop(&mut self) {
        let mut table = self.in_flight.table();
        let entry = table.entries.get_mut(self.slot);
        entry.is_used = false;
        entry.id.shrink();
        let waker = entry.waker.take();
        table.entries.free(self.slot);
        table.index.remove(self.slot);
        self.in_flight.count(&table);
        drop(table);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Id<'static> = Id::Unsigned(7);

    fn is_stopped(entry: &InFlightEntry<'_>) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        entry.poll_stopped(false, &mut cx).is_ready()
    }

    #[test]
    fn cancel_of_waiting_call_stops_it_and_leaves_nothing() {
        let in_flight = InFlight::default();
        let entry = in_flight.enter(Some(SEVEN), 10);
        assert!(!is_stopped(&entry));
        in_flight.cancel(HashedId::new(SEVEN), Some(10));
        assert!(is_stopped(&entry));
        in_flight.cancel(HashedId::new(SEVEN), Some(10));
        in_flight.cancel(HashedId::new(SEVEN), None);
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_of_an_ended_call_stops_no_later_call_with_its_id() {
        let in_flight = InFlight::default();
        drop(in_flight.enter(Some(SEVEN), 10));
        in_flight.record_processed(10);
        let later = in_flight.enter(Some(SEVEN), 20);
        in_flight.cancel(HashedId::new(SEVEN), Some(10));
        assert!(!is_stopped(&later));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_before_its_request_stops_the_call_when_it_is_entered() {
        let in_flight = InFlight::default();
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        in_flight.record_processed(10);
        // A later call with the same id is not cancelled.
        assert!(!is_stopped(&in_flight.enter(Some(SEVEN), 15)));
        assert!(is_stopped(&in_flight.enter(Some(SEVEN), 20)));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_before_its_request_is_found_before_the_handler_runs() {
        let in_flight = InFlight::default();
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        assert!(!in_flight.was_cancelled(Some(Id::Unsigned(8)), 20));
        assert!(in_flight.was_cancelled(Some(SEVEN), 20));
        assert!(!in_flight.was_cancelled(Some(SEVEN), 20));
    }

    #[test]
    fn cancel_after_its_call_has_ended_leaves_nothing() {
        let in_flight = InFlight::default();
        in_flight.record_processed(20);
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_that_its_call_has_overtaken_is_forgotten_with_the_next_request() {
        let in_flight = InFlight::default();
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        in_flight.record_processed(20);
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancels_of_requests_that_never_come_are_bounded() {
        let in_flight = InFlight::default();
        for id in 0..2 * MAX_EARLY_CANCELS as u64 {
            in_flight.cancel(HashedId::new(Id::Unsigned(id)), Some(u64::MAX));
        }
        assert_eq!(in_flight.kept(), MAX_EARLY_CANCELS);
    }

    #[test]
    fn cancel_without_an_offset_stops_all_calls_with_the_id() {
        let in_flight = InFlight::default();
        let calls = [10, 20].map(|offset| in_flight.enter(Some(SEVEN), offset));
        let other = in_flight.enter(Some(Id::String("7")), 30);
        in_flight.cancel(HashedId::new(SEVEN), None);
        assert!(calls.iter().all(is_stopped));
        assert!(!is_stopped(&other));
    }

    #[test]
    fn buffers_released_while_no_call_waits_are_made_anew() {
        let in_flight = InFlight::default();
        drop(in_flight.enter(Some(SEVEN), 10));
        assert!(in_flight.is_empty());
        in_flight.release_idle_buffers();
        let call = in_flight.enter(Some(SEVEN), 20);
        assert!(!in_flight.is_empty());
        in_flight.cancel(HashedId::new(SEVEN), Some(20));
        assert!(is_stopped(&call));
    }

    #[test]
    fn entry_that_is_used_again_keeps_nothing_of_the_call_before() {
        let in_flight = InFlight::default();
        let mut cx = Context::from_waker(Waker::noop());
        let streaming = in_flight.enter(Some(SEVEN), 10);
        assert!(streaming.poll_stopped(true, &mut cx).is_pending());
        assert!(in_flight.stop_streaming());
        assert!(streaming.poll_stopped(true, &mut cx).is_ready());
        let slot = streaming.slot;
        drop(streaming);

        let next = in_flight.enter(None, 20);
        assert_eq!(next.slot, slot);
        assert!(!in_flight.stop_streaming());
        in_flight.cancel(HashedId::new(SEVEN), None);
        assert!(!is_stopped(&next));
    }

    #[test]
    fn reset_stream_cancels_waiting_and_later_calls() {
        let in_flight = InFlight::default();
        let waiting = in_flight.enter(None, 10);
        in_flight.cancel_all();
        assert!(is_stopped(&waiting));
        assert!(is_stopped(&in_flight.enter(Some(SEVEN), 20)));
    }
}
