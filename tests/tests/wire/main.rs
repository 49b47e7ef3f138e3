//! Messages, streams and datagrams on the wire, from the view of a peer without code of the framework.

mod datagrams;
mod forms;
mod json;
mod spec;
mod stream;
mod streaming;
mod types;
