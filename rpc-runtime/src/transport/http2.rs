//! Carries the streams of a client in the requests of an HTTP/2 connection, for networks without UDP.
//!
//! The client has one end of a connection in memory. A task has the other end and the HTTP/2 connection, and sends each stream
//! as a request: the body of the request is the client's half of the stream, and the body of the response is the server's.
//! No other module depends on h2.

mod connection;
mod driver;
mod exchange;
mod handshake;
mod heads;
mod lost;

pub(crate) use crate::transport::http2::connection::{Connection, cannot_move};
pub(crate) use crate::transport::http2::handshake::Dial;
pub(crate) use crate::transport::http2::heads::Target;
