//! Streams of items, for both ends: the exchange between a handler and its worker, and the gathering of items that leave
//! together.

pub(crate) mod exchange;
pub(crate) mod gather;
