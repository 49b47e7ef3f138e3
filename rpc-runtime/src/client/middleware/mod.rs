//! The middleware of a client.
//!
//! [`chain`] is the interface, with the call before it is sent ([`request`]) and after it has ended ([`response`]).
//! [`layers`] runs a call through the middleware; the two meet at a [`gate`].

pub(super) mod chain;
pub(super) mod gate;
pub(super) mod layers;
pub(super) mod request;
pub(super) mod response;
