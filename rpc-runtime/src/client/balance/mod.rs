//! A client of several servers: their list, which of them takes a call, and which takes none for now.

pub(super) mod endpoint_list;
pub(super) mod endpoints;
pub(super) mod health;
pub(super) mod outlier;
pub(super) mod p2c;
pub(super) mod probe;
pub(super) mod stall;
