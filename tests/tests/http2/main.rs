//! Clients over HTTP/2: every kind of call as over QUIC, the ends of connections, and networks without UDP.

mod ends;
mod fallback;
mod kinds;
mod proxy;
mod script;
mod service;
mod support;
