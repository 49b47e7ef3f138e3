//! The mutex and the atomics for state that many tasks share. They are those of parking_lot and the standard library, or
//! those of shuttle in tests that explore schedules.
//!
//! A task may panic while it holds a lock. The critical sections of this crate leave their state consistent wherever they
//! can panic, so a panic need not poison the lock. The standard mutex checks for poison at every lock.

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

/// Returns the state of a mutex that has no other references.
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    #[cfg(not(feature = "__shuttle"))]
    return mutex.get_mut();
    #[cfg(feature = "__shuttle")]
    mutex
        .get_mut()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
