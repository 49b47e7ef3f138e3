//! The calls of a stream whose handlers are still waiting, so that they can be cancelled by id.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::codec::id::{Id, IdBuffer};
use crate::sync::{Mutex, MutexGuard};

/// A table with places that are used again. Only a call that is not done at its first poll gets one.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<SlotTable>);

#[derive(Debug, Default)]
struct SlotTable {
    places: Vec<Slot>,
    free: Vec<usize>,
    /// The stream is gone: whatever waits, or comes to wait, is cancelled.
    all_cancelled: bool,
}

#[derive(Debug, Default)]
struct Slot {
    id: IdBuffer,
    taken: bool,
    /// Whether it sends items.
    is_stream: bool,
    ended: Option<StopReason>,
    waker: Option<Waker>,
}

/// Why a call that waits is to wait no longer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum StopReason {
    Cancelled,
    /// The server is shutting down, and its items would have no end in time.
    ShutDown,
}

/// A call's place in the table; free again when dropped.
#[derive(Debug)]
pub(super) struct InFlightEntry<'c> {
    calls: &'c InFlight,
    place: usize,
}

impl InFlight {
    fn table(&self) -> MutexGuard<'_, SlotTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call that waits.
    pub(super) fn enter(&self, id: Option<Id<'_>>, is_stream: bool) -> InFlightEntry<'_> {
        let mut table = self.table();
        let place = table.free.pop().unwrap_or_else(|| {
            table.places.push(Slot::default());
            table.places.len() - 1
        });
        let ended = table.all_cancelled.then_some(StopReason::Cancelled);
        let entry = &mut table.places[place];
        entry.id.set(id);
        entry.taken = true;
        entry.is_stream = is_stream;
        entry.ended = ended;
        InFlightEntry { calls: self, place }
    }

    /// Cancels the calls with this id: one, if the caller keeps to unique ids. Says whether there was any.
    pub(super) fn cancel(&self, id: Id<'_>) -> bool {
        self.end_where(StopReason::Cancelled, |place| place.id.is(id))
    }

    /// Gives back what many calls at once made of it, if none waits now.
    pub(super) fn shrink(&self) {
        let mut table = self.table();
        if table.free.len() == table.places.len() {
            table.places = Vec::new();
            table.free = Vec::new();
        }
    }

    pub(super) fn cancel_all(&self) {
        self.table().all_cancelled = true;
        self.end_where(StopReason::Cancelled, |_| true);
    }

    /// Ends the calls that send items. Says whether there were any.
    pub(super) fn end_streams(&self) -> bool {
        self.end_where(StopReason::ShutDown, |place| place.is_stream)
    }

    fn end_where(&self, why: StopReason, matches: impl Fn(&Slot) -> bool) -> bool {
        let mut found = false;
        let mut table = self.table();
        for place in table
            .places
            .iter_mut()
            .filter(|place| place.taken && matches(place))
        {
            place.ended = Some(why);
            place.waker.take().into_iter().for_each(Waker::wake);
            found = true;
        }
        found
    }
}

impl InFlightEntry<'_> {
    /// Resolves when the call is to wait no longer.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<StopReason> {
        let mut table = self.calls.table();
        let place = &mut table.places[self.place];
        if let Some(ended) = place.ended {
            return Poll::Ready(ended);
        }
        match &mut place.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => place.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for InFlightEntry<'_> {
    fn drop(&mut self) {
        let mut table = self.calls.table();
        let place = &mut table.places[self.place];
        place.taken = false;
        place.id.shrink();
        place.waker = None;
        table.free.push(self.place);
    }
}

/// How many cancellations may wait for their calls.
const EARLY: usize = 1024;

/// Cancellations that came, on a stream of their own, before the calls that they are for.
///
/// A lane at the limit of calls is not read, so a cancellation behind a waiting call could never free the place that
/// the call waits for. One that came past it is remembered here until its call, or the same cancellation on the call's
/// own stream, is read.
#[derive(Debug, Default)]
pub(super) struct Early {
    has_some: AtomicBool,
    ids: Mutex<VecDeque<u64>>,
}

impl Early {
    fn ids(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an id; only numbers, and only so many.
    pub(super) fn remember(&self, id: Id<'_>) {
        let Id::Unsigned(id) = id else { return };
        let mut ids = self.ids();
        if ids.len() == EARLY {
            ids.pop_front();
        }
        ids.push_back(id);
        self.has_some.store(true, Ordering::Release);
    }

    /// Forgets an id; says whether it was remembered.
    pub(super) fn forget(&self, id: Id<'_>) -> bool {
        let Id::Unsigned(id) = id else { return false };
        if !self.has_some.load(Ordering::Acquire) {
            return false;
        }
        let mut ids = self.ids();
        let known = ids
            .iter()
            .position(|known| *known == id)
            .and_then(|at| ids.remove(at));
        self.has_some.store(!ids.is_empty(), Ordering::Release);
        known.is_some()
    }
}
