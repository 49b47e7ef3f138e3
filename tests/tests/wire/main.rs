//! Messages, streams and datagrams as a foreign peer sends and sees them.

mod datagrams;
mod json;
mod spec;
mod stream;
mod streaming;
