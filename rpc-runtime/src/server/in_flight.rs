//! The calls of a stream whose handlers are waiting, so that they can be cancelled by id.
//!
//! Most calls end when their handler is first polled and are never entered. A cancellation travels on another stream than
//! its call and may arrive first. It names the offset in the stream at which its request ends, so the stream knows whether
//! the request is still to come: then the cancellation is kept until the request has been read, and no longer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use crate::codec::id::{Id, IdBuffer};
use crate::slots::Slots;
use crate::sync::{Mutex, MutexGuard, lock};
use crate::waker::WakerSlot;

/// The number of cancellations of a stream that may wait for their requests. Later ones are ignored: their calls run.
const MAX_EARLY_CANCELS: usize = 1024;

/// The calls in flight of one stream.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    table: Mutex<Table>,
    /// The offset up to which all messages of the stream have been answered or entered.
    settled: AtomicU64,
    has_early: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    entries: Slots<CallEntry>,
    early: Vec<EarlyCancel>,
    /// The stream was reset: calls that wait now or later are cancelled.
    is_reset: bool,
}

#[derive(Debug, Default)]
struct CallEntry {
    id: IdBuffer,
    /// Where the request ends in the stream.
    offset: u64,
    is_used: bool,
    /// Whether the call sends items.
    is_streaming: bool,
    stop: Option<StopReason>,
    waker: WakerSlot,
}

/// A cancellation that arrived before its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EarlyCancel {
    id: u64,
    /// Where its request ends in the stream.
    offset: u64,
}

/// Why a waiting call is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    Cancelled,
    /// The server is shutting down and the call's stream of items would not end in time.
    ShuttingDown,
}

/// A call's entry; removed when dropped.
#[derive(Debug)]
pub(super) struct InFlightEntry<'c> {
    in_flight: &'c InFlight,
    slot: usize,
}

impl InFlight {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Enters a call that waits, whose request ends at `offset`.
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
        InFlightEntry {
            in_flight: self,
            slot,
        }
    }

    /// Cancels the call with this id. `offset` is where its request ends in this stream, if the client says so. Returns
    /// whether the cancellation has an effect, now or on a request that is still to come.
    pub(super) fn cancel(&self, id: Id<'_>, offset: Option<u64>) -> bool {
        let mut table = self.table();
        let is_meant = |entry: &CallEntry| {
            entry.id.is(id) && offset.is_none_or(|offset| offset == entry.offset)
        };
        if table.stop_where(StopReason::Cancelled, is_meant) {
            return true;
        }
        let (Some(offset), Id::Unsigned(number)) = (offset, id) else {
            return false;
        };
        if table.has(is_meant) {
            // Its call is stopped already.
            return false;
        }
        let cancel = EarlyCancel { id: number, offset };
        let is_to_come = offset > self.settled.load(Ordering::SeqCst);
        let is_kept =
            is_to_come && table.early.len() < MAX_EARLY_CANCELS && !table.early.contains(&cancel);
        if is_kept {
            table.early.push(cancel);
            self.has_early.store(true, Ordering::SeqCst);
        }
        is_kept
    }

    /// Whether the call was cancelled before its handler was polled.
    pub(super) fn was_cancelled(&self, id: Option<Id<'_>>, offset: u64) -> bool {
        self.has_early.load(Ordering::Relaxed) && {
            let mut table = self.table();
            self.take_early(&mut table, id, offset)
        }
    }

    fn take_early(&self, table: &mut Table, id: Option<Id<'_>>, offset: u64) -> bool {
        let Some(Id::Unsigned(id)) = id else {
            return false;
        };
        let cancel = EarlyCancel { id, offset };
        let Some(found) = table.early.iter().position(|early| *early == cancel) else {
            return false;
        };
        table.early.swap_remove(found);
        self.has_early
            .store(!table.early.is_empty(), Ordering::Relaxed);
        true
    }

    /// Records that all requests up to `offset` have been answered or entered: cancellations for them are not kept.
    pub(super) fn settle(&self, offset: u64) {
        self.settled.store(offset, Ordering::Release);
        if self.has_early.load(Ordering::Relaxed) {
            let mut table = self.table();
            table.early.retain(|early| early.offset > offset);
            self.has_early
                .store(!table.early.is_empty(), Ordering::Relaxed);
        }
    }

    /// Cancels all calls, also those that are entered later.
    pub(super) fn cancel_all(&self) {
        let mut table = self.table();
        table.is_reset = true;
        table.stop_where(StopReason::Cancelled, |_| true);
    }

    /// Stops the calls that send items. Returns whether there were any.
    pub(super) fn stop_streaming(&self) -> bool {
        let is_streaming = |entry: &CallEntry| entry.is_streaming;
        self.table()
            .stop_where(StopReason::ShuttingDown, is_streaming)
    }

    /// Releases the memory that many simultaneous calls took, if none waits now.
    pub(super) fn release_idle_buffers(&self) {
        let mut table = self.table();
        table.entries.release_if_unused();
        table.early.shrink_to_fit();
    }

    #[cfg(test)]
    fn kept(&self) -> usize {
        self.table().early.len()
    }
}

impl Table {
    fn has(&mut self, matches: impl Fn(&CallEntry) -> bool) -> bool {
        let mut entries = self.entries.iter_mut();
        entries.any(|entry| entry.is_used && matches(entry))
    }

    /// Stops the calls that match and are not stopped already. Returns whether there were any.
    fn stop_where(&mut self, reason: StopReason, matches: impl Fn(&CallEntry) -> bool) -> bool {
        let mut found = false;
        let entries = self.entries.iter_mut();
        for entry in entries.filter(|entry| entry.is_used && entry.stop.is_none() && matches(entry))
        {
            entry.stop = Some(reason);
            entry.waker.take().into_iter().for_each(Waker::wake);
            found = true;
        }
        found
    }
}

impl InFlightEntry<'_> {
    /// Resolves when the call is stopped. `is_streaming` says whether it sends items by now.
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
    fn cancel_of_waiting_call_stops_it_and_counts_once() {
        let in_flight = InFlight::default();
        let entry = in_flight.enter(Some(SEVEN), 10);
        assert!(!is_stopped(&entry));
        assert!(in_flight.cancel(SEVEN, Some(10)));
        assert!(is_stopped(&entry));
        assert!(!in_flight.cancel(SEVEN, Some(10)));
        assert!(!in_flight.cancel(SEVEN, None));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_of_an_ended_call_stops_no_later_call_with_its_id() {
        let in_flight = InFlight::default();
        drop(in_flight.enter(Some(SEVEN), 10));
        in_flight.settle(10);
        let later = in_flight.enter(Some(SEVEN), 20);
        assert!(!in_flight.cancel(SEVEN, Some(10)));
        assert!(!is_stopped(&later));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_before_its_request_stops_the_call_when_it_is_entered() {
        let in_flight = InFlight::default();
        assert!(in_flight.cancel(SEVEN, Some(20)));
        assert!(!in_flight.cancel(SEVEN, Some(20)), "counted twice");
        in_flight.settle(10);
        // Another call with the same id is not meant.
        assert!(!is_stopped(&in_flight.enter(Some(SEVEN), 15)));
        assert!(is_stopped(&in_flight.enter(Some(SEVEN), 20)));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_before_its_request_is_found_before_the_handler_runs() {
        let in_flight = InFlight::default();
        assert!(in_flight.cancel(SEVEN, Some(20)));
        assert!(!in_flight.was_cancelled(Some(Id::Unsigned(8)), 20));
        assert!(in_flight.was_cancelled(Some(SEVEN), 20));
        assert!(!in_flight.was_cancelled(Some(SEVEN), 20));
    }

    #[test]
    fn cancel_after_its_call_has_ended_leaves_nothing() {
        let in_flight = InFlight::default();
        in_flight.settle(20);
        assert!(!in_flight.cancel(SEVEN, Some(20)));
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancel_that_its_call_has_overtaken_is_forgotten_with_the_next_request() {
        let in_flight = InFlight::default();
        assert!(in_flight.cancel(SEVEN, Some(20)));
        in_flight.settle(20);
        assert_eq!(in_flight.kept(), 0);
    }

    #[test]
    fn cancels_of_requests_that_never_come_are_bounded() {
        let in_flight = InFlight::default();
        let kept = (0..2 * MAX_EARLY_CANCELS as u64)
            .filter(|id| in_flight.cancel(Id::Unsigned(*id), Some(u64::MAX)))
            .count();
        assert_eq!(kept, MAX_EARLY_CANCELS);
        assert_eq!(in_flight.kept(), MAX_EARLY_CANCELS);
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
