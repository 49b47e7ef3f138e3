//! Messages, streams and datagrams on the wire, from the view of a peer without code of the framework.

mod datagrams;
mod forms;
mod json;
mod response_metadata;
mod spec;
mod stream;
mod streaming;
mod types;
