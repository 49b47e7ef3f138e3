//! What one side takes from the other, and what it keeps.

use std::time::Duration;

use crate::codec::MAX_REQUEST_DEPTH;

/// Silence after which a connection is given up.
pub(crate) const IDLE: Duration = Duration::from_secs(15);

/// What a server takes from its clients, and a client that serves from its server. Every limit has a default, an answer, and a place in `PROTOCOL.md`.
///
/// ```
/// use rpc_runtime::Limits;
///
/// let limits = Limits { request: 64 << 10, ..Limits::default() };
/// assert_eq!(limits.reply, 4 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one request or batch, and of an item that a caller sends: 1 MiB. A larger one is skipped while it is
    /// received and answered −32007.
    pub request: usize,
    /// Bytes of one reply, of all replies of a batch, and of an item that a handler sends: 4 MiB. A larger one is
    /// replaced by −32008, the rest of a batch by −32011.
    pub reply: usize,
    /// Levels of arrays and objects in a request: 64. A deeper one is answered −32700.
    pub depth: usize,
    /// Entries of a batch: 100. A longer one is answered −32010 and none of it is executed.
    pub batch: usize,
    /// Calls in flight on one connection: 128. At the limit the server stops reading, which slows the client down. A
    /// stream of items is a call in flight for as long as it lasts.
    pub calls_per_connection: usize,
    /// Calls in flight on all connections of a server: 4,096. At the limit the server stops reading. A stream of items
    /// counts on its connection alone.
    pub calls: usize,
    /// Whether a call past one of these two is answered −32009 at once, and is not executed, instead of waiting for its
    /// place: no.
    pub refuse_calls: bool,

    /// Connections from one IPv4 address, or from one IPv6 network of 64 bits: 64. More are refused.
    pub connections_per_address: usize,
    /// Connections in all: 10,000. More are refused.
    pub connections: usize,
    /// Handshakes that go on at once: 256. More get no answer, and come again if they are serious.
    pub handshakes: usize,
    /// Handshakes that go on at once with addresses that may be forged: 32. More clients must first prove that they hear
    /// what is sent to their address, which takes them one more round trip. Less than
    /// [`connections_per_address`](Self::connections_per_address), so that forged packets don't take up all places of an
    /// address.
    pub unproven_handshakes: usize,
    /// How long a handshake may take: 5 s. Then it is given up.
    pub handshake_timeout: Duration,
    /// Silence after which a connection is given up: 15 s. Zero is no limit. Our clients break the silence every 5 s.
    pub idle_timeout: Duration,

    /// How long a stream may stay without its first byte: 5 s. Then it is given up with code 0x14. QUIC opens all streams
    /// before one that carries data, so a client can open many with one packet.
    pub first_byte_timeout: Duration,
    /// How long a message may take from its first byte to its last: 10 s. Then its stream is given up with code 0x14.
    /// Between messages a stream may be silent for ever.
    pub message_timeout: Duration,
    /// Streams of a connection that may be given up in the middle of a message: 8. One more, and the connection is closed
    /// with code 0x13.
    pub late_messages: usize,
    /// Bytes of replies that may wait to be sent on one stream: 256 KiB. When there are more, the server takes no more
    /// requests from it until some have left.
    pub unsent_per_stream: usize,
    /// The same on all streams of a connection: 8 MiB, besides 8 MiB that are sent and not acknowledged. When there are
    /// more, the server starts no more calls of the connection until some have left.
    pub unsent_per_connection: usize,
    /// How long a client may take none of a stream's replies: 20 s. Then the stream is given up with code 0x14, unless
    /// items come on it.
    pub write_timeout: Duration,

    /// Cancellations that a connection has in advance: 1,000. One is used up by a call that `rpc.cancel` stops, and by a
    /// stream that is given up before its end and before any item of it has left. A second gives
    /// [`cancellations_per_second`](Self::cancellations_per_second) back, a call that ends by itself ten. When none is
    /// left, the connection is closed with code 0x13: the client has nearly everything started for nothing.
    pub cancellations: usize,
    /// Cancellations that a connection gets back in a second: 100.
    pub cancellations_per_second: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: 1 << 20,
            reply: 4 << 20,
            depth: MAX_REQUEST_DEPTH,
            batch: 100,
            calls_per_connection: 128,
            calls: 4096,
            refuse_calls: false,
            connections_per_address: 64,
            connections: 10_000,
            handshakes: 256,
            unproven_handshakes: 32,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: IDLE,
            first_byte_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            late_messages: 8,
            unsent_per_stream: 256 << 10,
            unsent_per_connection: 8 << 20,
            write_timeout: Duration::from_secs(20),
            cancellations: 1000,
            cancellations_per_second: 100,
        }
    }
}
