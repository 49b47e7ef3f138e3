//! Enforces a server's limits, with one file for each kind.

pub(super) mod abuse;
pub(super) mod connections;
mod handshakes;
pub(super) mod rejections;
pub(super) mod send_budget;
pub(super) mod timeouts;
