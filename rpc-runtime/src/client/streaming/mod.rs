//! Streams of items, as a client receives and sends them.

pub(super) mod request;
pub(super) mod response;
