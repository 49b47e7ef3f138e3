//! Implements streams of items: the exchange between a handler and its worker, and the gathering of items that are sent
//! together.

pub(crate) mod exchange;
pub(crate) mod gather;
