//! The calls of a stream whose handlers are still waiting, so that they can be cancelled by id.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::wire::id::{Id, IdBuffer};

/// A table with places that are used again. Only a call that is not done at its first poll gets one.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    places: Vec<Place>,
    free: Vec<usize>,
    /// The stream is gone: whatever waits, or comes to wait, is cancelled.
    all_cancelled: bool,
}

#[derive(Debug, Default)]
struct Place {
    id: IdBuffer,
    taken: bool,
    cancelled: bool,
    waker: Option<Waker>,
}

/// A call's place in the table; free again when dropped.
#[derive(Debug)]
pub(super) struct Ticket<'c> {
    calls: &'c Calls,
    place: usize,
}

impl Calls {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call that waits.
    pub(super) fn enter(&self, id: Option<Id<'_>>) -> Ticket<'_> {
        let mut table = self.table();
        let place = table.free.pop().unwrap_or_else(|| {
            table.places.push(Place::default());
            table.places.len() - 1
        });
        let cancelled = table.all_cancelled;
        let entry = &mut table.places[place];
        entry.id.set(id);
        entry.taken = true;
        entry.cancelled = cancelled;
        Ticket { calls: self, place }
    }

    /// Cancels the calls with this id: one, if the caller keeps to unique ids.
    pub(super) fn cancel(&self, id: Id<'_>) {
        self.cancel_where(|place| place.id.is(id));
    }

    pub(super) fn cancel_all(&self) {
        self.table().all_cancelled = true;
        self.cancel_where(|_| true);
    }

    fn cancel_where(&self, matches: impl Fn(&Place) -> bool) {
        let mut table = self.table();
        for place in table
            .places
            .iter_mut()
            .filter(|place| place.taken && matches(place))
        {
            place.cancelled = true;
            place.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Ticket<'_> {
    /// Resolves when the call is cancelled.
    pub(super) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut table = self.calls.table();
        let place = &mut table.places[self.place];
        if place.cancelled {
            return Poll::Ready(());
        }
        match &mut place.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => place.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut table = self.calls.table();
        let place = &mut table.places[self.place];
        place.taken = false;
        place.waker = None;
        table.free.push(self.place);
    }
}
