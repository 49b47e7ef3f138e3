//! The kinds of transports, for events and metrics.

use std::fmt;

/// A kind of transport: what carries a connection. [`Client::transport`](crate::Client::transport) returns that of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// QUIC, over UDP.
    Quic,
    /// HTTP/2, over TCP.
    Http2,
    /// The memory of this process.
    Memory,
}

impl TransportKind {
    /// Returns the kind as one word, for a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Http2 => "http2",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quic => "QUIC",
            Self::Http2 => "HTTP/2",
            Self::Memory => "memory",
        })
    }
}
