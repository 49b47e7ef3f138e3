//! When a call may be sent again, and how long to wait before.

pub(super) mod attempts;
pub(super) mod backoff;
pub(super) mod budget;
