//! Callers that wait for room in a stream.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// Callers that wait for room, in order of arrival. Joining, leaving and waking take logarithmic time in the number of
/// callers.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    queue: BTreeMap<WaiterId, Waiter>,
    /// The time since when each caller waits, including those that were woken and have not left.
    since: BTreeMap<WaiterId, Instant>,
    /// Number of callers that have waited so far.
    so_far: u64,
}

/// The position of a waiting caller. The caller keeps it if it is woken and finds that the room was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// Room that the caller needs.
    bytes: usize,
}

/// The end of a wait.
#[must_use = "a waker is dropped without a lock, and the end is reported"]
pub(super) struct EndedWait {
    /// The caller's waker, unless it was woken.
    pub(super) waker: Option<Waker>,
    pub(super) waited: Duration,
}

impl Waiters {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a caller at its position, or at the end if it has no position. Returns the waker that it replaces, which must be
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
            let id = WaiterId(self.so_far);
            self.since.insert(id, Instant::now());
            id
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

    /// Removes a caller that waits no longer.
    pub(super) fn leave(&mut self, id: WaiterId) -> EndedWait {
        let since = self.since.remove(&id);
        EndedWait {
            waker: self.queue.remove(&id).map(|waiter| waiter.waker),
            waited: since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// Returns the time for which the first of the callers has waited.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        let (_, since) = self.since.first_key_value()?;
        Some(since.elapsed())
    }

    /// Removes the first caller.
    #[must_use = "the caller waits until it is woken"]
    pub(super) fn pop(&mut self) -> Option<Waker> {
        self.queue.pop_first().map(|(_, waiter)| waiter.waker)
    }

    /// Removes the first callers, as many as fit into `room` bytes. The last of them may exceed it.
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

    /// Removes all callers.
    #[must_use = "the callers wait until they are woken"]
    pub(super) fn pop_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let queue = std::mem::take(&mut self.queue);
        queue.into_values().map(|waiter| waiter.waker)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    /// A waker that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds a waiting caller for each of these numbers of bytes.
    fn wait_for(waiters: &mut Waiters, bytes: &[usize]) -> Vec<(Arc<Task>, WaiterId)> {
        let wait = |&bytes: &usize| {
            let task = Arc::<Task>::default();
            let waker = Waker::from(Arc::clone(&task));
            let mut id = None;
            let replaced = waiters.wait(&mut id, bytes, &Context::from_waker(&waker));
            assert!(replaced.is_none());
            (task, id.unwrap())
        };
        bytes.iter().map(wait).collect()
    }

    fn woken(callers: &[(Arc<Task>, WaiterId)]) -> Vec<u32> {
        let woken = callers
            .iter()
            .map(|(task, _)| task.0.load(Ordering::Relaxed));
        woken.collect()
    }

    #[test]
    fn callers_are_woken_in_the_order_in_which_they_came() {
        let mut waiters = Waiters::default();
        let callers = wait_for(&mut waiters, &[1; 4]);
        assert!(waiters.leave(callers[1].1).waker.is_some());
        assert!(waiters.leave(callers[1].1).waker.is_none());
        for expected in [[1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]] {
            waiters.pop().unwrap().wake();
            assert_eq!(woken(&callers), expected);
        }
        assert!(waiters.is_empty());
    }

    #[test]
    fn as_many_callers_are_woken_as_fit_into_the_room() {
        let mut waiters = Waiters::default();
        let callers = wait_for(&mut waiters, &[10, 10, 10, 10]);
        waiters.pop_for(0).into_iter().for_each(Waker::wake);
        assert_eq!(woken(&callers), [0, 0, 0, 0]);
        // The last caller may exceed the room.
        waiters.pop_for(11).into_iter().for_each(Waker::wake);
        assert_eq!(woken(&callers), [1, 1, 0, 0]);
        waiters.pop_for(10).into_iter().for_each(Waker::wake);
        assert_eq!(woken(&callers), [1, 1, 1, 0]);
    }

    #[test]
    fn caller_that_waits_again_keeps_its_position() {
        let mut waiters = Waiters::default();
        let callers = wait_for(&mut waiters, &[1; 2]);
        drop(waiters.pop());
        let mut id = Some(callers[0].1);
        let waker = Waker::from(Arc::clone(&callers[0].0));
        drop(waiters.wait(&mut id, 1, &Context::from_waker(&waker)));
        assert_eq!(id, Some(callers[0].1));
        waiters.pop().unwrap().wake();
        assert_eq!(woken(&callers), [1, 0]);
    }
}
