//! The client's end of a connection over HTTP/2.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::transport::error::ConnectionError;
use crate::transport::memory;

/// The client's end of a connection over HTTP/2.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    streams: memory::Connection,
    server: SocketAddr,
}

impl Connection {
    pub(super) fn new(streams: memory::Connection, server: SocketAddr) -> Self {
        Self { streams, server }
    }

    /// Returns the end whose streams are carried.
    pub(crate) fn streams(&self) -> &memory::Connection {
        &self.streams
    }

    /// Returns `None`: TCP has no datagrams, so notifications are sent on streams.
    pub(crate) fn datagram_size(&self) -> Option<usize> {
        None
    }

    pub(crate) fn send_datagram(&self, _: Bytes) -> bool {
        false
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        Err(self.closed().await)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.streams.close(code, reason);
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        self.streams.closed().await
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.server
    }
}

/// Returns the error of a client whose connection cannot move to another socket.
pub(crate) fn cannot_move() -> io::Error {
    let reason = "a connection over HTTP/2 cannot move to another socket";
    io::Error::new(io::ErrorKind::Unsupported, reason)
}
