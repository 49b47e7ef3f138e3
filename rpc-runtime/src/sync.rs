//! The mutex of state that many tasks share: the standard one, or shuttle's in tests that explore schedules.

use std::sync::PoisonError;

#[cfg(feature = "__shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "__shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks a mutex, also after a task has panicked while it held the lock: the critical sections of this crate leave their
/// state consistent wherever they can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the state of a mutex that nothing else refers to.
pub(crate) fn get_mut<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}
