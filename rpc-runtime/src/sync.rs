//! The mutex of what many tasks share: the standard one, and in tests of schedules one that tries them.

#[cfg(feature = "__shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "__shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard};
