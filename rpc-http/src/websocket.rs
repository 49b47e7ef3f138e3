//! Calls over WebSocket (RFC 6455): one message a text frame.
//!
//! [`handshake`] answers the request for an upgrade. The [`session`] then passes each message to a stream of the services, as
//! [`route`] decides, and sends their [`lines`] back.

mod handshake;
mod lines;
mod route;
mod session;

pub(crate) use handshake::{accept, is_upgrade};
