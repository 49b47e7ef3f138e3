//! Messages, streams and datagrams as a foreign peer sends and sees them.

#[path = "../peer/mod.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

mod datagrams;
mod json;
mod odd_peers;
mod spec;
mod stream;
mod streaming;
