//! The mutex and the atomics of state that many tasks share: parking_lot's and the standard library's, or shuttle's in
//! tests that explore schedules.
//!
//! A task may panic while it holds the lock: the critical sections of this crate leave their state consistent wherever they
//! can panic. So the lock need not be poisoned by a panic, which the standard one looks for each time that it is locked.

#[cfg(not(feature = "__shuttle"))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(feature = "__shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
#[cfg(not(feature = "__shuttle"))]
pub(crate) use std::sync::atomic;

/// Locks a mutex.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    #[cfg(not(feature = "__shuttle"))]
    return mutex.lock();
    #[cfg(feature = "__shuttle")]
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns the state of a mutex that nothing else refers to.
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    #[cfg(not(feature = "__shuttle"))]
    return mutex.get_mut();
    #[cfg(feature = "__shuttle")]
    mutex
        .get_mut()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
