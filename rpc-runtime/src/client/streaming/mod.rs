//! Streams of items that a client receives and sends.

pub(super) mod request;
pub(super) mod response;
