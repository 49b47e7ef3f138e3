//! The waker of a waiting task.

use std::task::{Context, Waker};

/// The waker of a waiting task, or none if no task waits.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    /// Registers the task of `cx`, in place of the previous task.
    ///
    /// Returns the replaced waker. The values that a waker owns may lock the state that contains this slot, so the caller
    /// must drop the waker after it has released the lock. Returns `None`, and clones no waker, if the same task was
    /// registered before.
    #[must_use = "a waker is dropped without a lock"]
    pub(crate) fn register(&mut self, cx: &Context<'_>) -> Option<Waker> {
        match self.is_of(cx) {
            true => None,
            false => self.0.replace(cx.waker().clone()),
        }
    }

    /// Returns `true` if the task of `cx` is registered.
    pub(crate) fn is_of(&self, cx: &Context<'_>) -> bool {
        self.0
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
    }

    /// Takes the waker, so that the caller can wake the task without a lock.
    #[must_use = "the task waits until it is woken"]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}

/// Wakes tasks whose wakers were taken under a lock, after the lock was released.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn register_same_task_twice_keeps_its_waker() {
        let waker = Waker::from(Arc::new(Counter::default()));
        let mut slot = WakerSlot::default();
        assert!(slot.register(&Context::from_waker(&waker)).is_none());
        assert!(slot.register(&Context::from_waker(&waker)).is_none());
        assert!(slot.take().is_some_and(|taken| taken.will_wake(&waker)));
        assert!(slot.take().is_none());
    }

    #[test]
    fn register_another_task_returns_the_waker_it_replaces() {
        let tasks = [(); 2].map(|()| Arc::new(Counter::default()));
        let wakers = tasks.clone().map(Waker::from);
        let mut slot = WakerSlot::default();
        assert!(slot.register(&Context::from_waker(&wakers[0])).is_none());
        let replaced = slot.register(&Context::from_waker(&wakers[1])).unwrap();
        assert!(replaced.will_wake(&wakers[0]));
        wake_all(slot.take());
        let woken = tasks.map(|task| task.0.load(Ordering::Relaxed));
        assert_eq!(woken, [0, 1]);
    }
}
