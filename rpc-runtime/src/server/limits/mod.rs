//! Enforces a server's limits, with one file for each kind.

pub(super) mod abuse;
#[cfg(feature = "server")]
pub(super) mod connections;
#[cfg(feature = "server")]
mod handshakes;
#[cfg(feature = "server")]
pub(super) mod rejections;
pub(super) mod send_budget;
pub(super) mod timeouts;
