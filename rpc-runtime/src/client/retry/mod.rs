//! Retries of calls: their conditions and delays.

pub(super) mod attempts;
pub(super) mod backoff;
pub(super) mod budget;
