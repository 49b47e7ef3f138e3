//! A client of several servers: the list of them, which of them takes a call, and which takes none for now.

pub(super) mod endpoints;
pub(super) mod outlier;
pub(super) mod p2c;
pub(super) mod stall;
