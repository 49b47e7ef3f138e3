//! Callers that wait for room in a stream.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::task::{Context, Waker};

/// Callers that wait for room, in the order in which they came. Joining, leaving and waking cost a caller the logarithm of
/// their number.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: BTreeMap<WaiterId, Waiter>,
    /// Number of callers that ever waited.
    so_far: u64,
}

/// A caller's position among those that wait. It keeps the position when it is woken and finds the room taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// Room that the caller needs.
    bytes: usize,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Has the caller wait at its position, or behind all others if it has none. Returns the waker that it replaces, to be
    /// dropped without a lock.
    #[must_use = "a waker is dropped without a lock"]
    pub(super) fn wait(
        &mut self,
        id: &mut Option<WaiterId>,
        bytes: usize,
        cx: &Context<'_>,
    ) -> Option<Waker> {
        let id = *id.get_or_insert_with(|| {
            self.so_far += 1;
            WaiterId(self.so_far)
        });
        match self.queue.entry(id) {
            Entry::Occupied(entry) if entry.get().waker.will_wake(cx.waker()) => None,
            Entry::Occupied(mut entry) => {
                let waker = cx.waker().clone();
                Some(std::mem::replace(&mut entry.get_mut().waker, waker))
            }
            Entry::Vacant(entry) => {
                let waker = cx.waker().clone();
                entry.insert(Waiter { waker, bytes });
                None
            }
        }
    }

    /// Takes a caller out. Returns `None` if it was woken already.
    #[must_use = "a waker is dropped without a lock"]
    pub(super) fn remove(&mut self, id: WaiterId) -> Option<Waker> {
        self.queue.remove(&id).map(|waiter| waiter.waker)
    }

    /// Takes out the first caller.
    #[must_use = "the caller waits until it is woken"]
    pub(super) fn pop(&mut self) -> Option<Waker> {
        self.queue.pop_first().map(|(_, waiter)| waiter.waker)
    }

    /// Takes out the first callers, as many as fit into `room`; the last may exceed it.
    #[must_use = "the callers wait until they are woken"]
    pub(super) fn pop_for(&mut self, room: usize) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut taken = 0;
        while taken < room
            && let Some((_, waiter)) = self.queue.pop_first()
        {
            taken += waiter.bytes;
            wakers.push(waiter.waker);
        }
        wakers
    }

    /// Takes out all callers.
    #[must_use = "the callers wait until they are woken"]
    pub(super) fn pop_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let queue = std::mem::take(&mut self.queue);
        queue.into_values().map(|waiter| waiter.waker)
    }
}
