//! Calls over WebSocket (RFC 6455): one message a text frame.
//!
//! [`handshake`] answers the request for an upgrade. The [`session`] then passes each message to a stream of the services, as
//! [`route`] decides, and sends their [`lines`] back. A [`subscription`] gives the lines of one stream another form.
//! `watched_io` limits the time of a message.

mod handshake;
mod lines;
mod route;
mod session;
mod subscription;
mod watched_io;

pub(crate) use handshake::{accept, is_upgrade};
