//! The interface to the network. A connection opens and accepts streams, and a stream moves chunks of bytes.
//!
//! Only [`quic`] depends on quinn, and only `http2` on h2; [`memory`] implements the same interface without a socket.

pub(crate) mod error;
#[cfg(feature = "server")]
pub(crate) mod gateway;
pub(crate) mod handshake;
#[cfg(any(feature = "http2", feature = "server"))]
pub mod header;
#[cfg(feature = "http2")]
pub(crate) mod http2;
#[cfg(feature = "testing")]
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod quic;
pub(crate) mod settings;
pub(crate) mod write_buffer;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::call_defaults::CallDefaults;
use crate::tls::Certificate;
pub use crate::transport::error::ConnectionError;
pub(crate) use crate::transport::error::{Stopped, StreamLost, Traffic, close};
use crate::transport_kind::TransportKind;

#[derive(Debug, Clone)]
pub(crate) enum Connection {
    Quic(quic::Connection),
    Memory(memory::Connection),
    #[cfg(feature = "http2")]
    Http2(http2::Connection),
}

macro_rules! either {
    ($self:expr, $inner:ident => $body:expr) => {
        match $self {
            Self::Quic($inner) => $body,
            Self::Memory($inner) => $body,
            #[cfg(feature = "http2")]
            Self::Http2($inner) => $body,
        }
    };
}

/// As `either`, for the halves of streams. Streams over HTTP/2 are streams in memory.
macro_rules! either_half {
    ($self:expr, $inner:ident => $body:expr) => {
        match $self {
            Self::Quic($inner) => $body,
            Self::Memory($inner) => $body,
        }
    };
}

impl Connection {
    pub(crate) fn kind(&self) -> TransportKind {
        match self {
            Self::Quic(_) => TransportKind::Quic,
            Self::Memory(_) => TransportKind::Memory,
            #[cfg(feature = "http2")]
            Self::Http2(_) => TransportKind::Http2,
        }
    }

    /// Opens a bidirectional stream. Waits while the peer's limit is reached.
    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        Ok(match self {
            Self::Quic(inner) => quic_pair(inner.open_bi().await?),
            Self::Memory(inner) => memory_pair(inner.open_bi()?),
            #[cfg(feature = "http2")]
            Self::Http2(inner) => memory_pair(inner.streams().open_bi()?),
        })
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        Ok(match self {
            Self::Quic(inner) => quic_pair(inner.accept_bi().await?),
            Self::Memory(inner) => memory_pair(inner.accept_bi().await?),
            #[cfg(feature = "http2")]
            Self::Http2(inner) => memory_pair(inner.streams().accept_bi().await?),
        })
    }

    /// Opens a unidirectional stream. Waits while the peer's limit is reached.
    pub(crate) async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        Ok(match self {
            Self::Quic(inner) => SendStream::Quic(inner.open_uni().await?),
            Self::Memory(inner) => SendStream::Memory(inner.open_uni()?),
            #[cfg(feature = "http2")]
            Self::Http2(inner) => SendStream::Memory(inner.streams().open_uni()?),
        })
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        Ok(match self {
            Self::Quic(inner) => RecvStream::Quic(inner.accept_uni().await?),
            Self::Memory(inner) => RecvStream::Memory(inner.accept_uni().await?),
            #[cfg(feature = "http2")]
            Self::Http2(inner) => RecvStream::Memory(inner.streams().accept_uni().await?),
        })
    }

    /// Returns the current maximum size of a datagram, or `None` if the peer accepts no datagrams.
    pub(crate) fn datagram_size(&self) -> Option<usize> {
        either!(self, inner => inner.datagram_size())
    }

    /// Sends a datagram, which may be lost. Returns `true` if the transport accepted it.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        either!(self, inner => inner.send_datagram(datagram))
    }

    /// Receives the next datagram. Cancel safe.
    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        either!(self, inner => inner.read_datagram().await)
    }

    /// Closes the connection at once; unacknowledged data is lost.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        either!(self, inner => inner.close(code, reason));
    }

    /// Waits until the connection has ended.
    pub(crate) async fn closed(&self) -> ConnectionError {
        either!(self, inner => inner.closed().await)
    }

    /// Widens the connection's receive window for a stream that may stay unread, if streams share a window.
    pub(crate) fn make_room(&self) -> Option<quic::Room> {
        match self {
            Self::Quic(inner) => Some(inner.make_room()),
            Self::Memory(_) => None,
            #[cfg(feature = "http2")]
            Self::Http2(_) => None,
        }
    }

    /// Returns the number of streams without room of their own that leave the others no window if they stay unread, if streams
    /// share a window.
    pub(crate) fn most_unread(&self) -> Option<usize> {
        match self {
            Self::Quic(inner) => Some(inner.most_unread()),
            Self::Memory(_) => None,
            #[cfg(feature = "http2")]
            Self::Http2(_) => None,
        }
    }

    /// Moves the connection to another local address, if it has one.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        match self {
            Self::Quic(inner) => inner.rebind(),
            Self::Memory(_) => Ok(()),
            #[cfg(feature = "http2")]
            Self::Http2(_) => Err(http2::cannot_move()),
        }
    }

    /// Returns the socket of a client's connection over QUIC, if the connection does not share it.
    pub(crate) fn spare_socket(&self) -> Option<quic::SpareSocket> {
        match self {
            Self::Quic(inner) => inner.spare_socket(),
            #[cfg(feature = "http2")]
            Self::Http2(_) => None,
            Self::Memory(_) => None,
        }
    }

    /// Returns the traffic counters, if the transport uses datagrams.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        match self {
            Self::Quic(inner) => Some(inner.traffic()),
            Self::Memory(_) => None,
            #[cfg(feature = "http2")]
            Self::Http2(_) => None,
        }
    }

    /// Returns the peer's address, or `None` if the peer is in this process.
    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Quic(inner) => Some(inner.remote_address()),
            Self::Memory(inner) => inner.remote_address(),
            #[cfg(feature = "http2")]
            Self::Http2(inner) => Some(inner.remote_address()),
        }
    }

    /// Returns the certificate that the peer has presented, if one was requested.
    pub(crate) fn peer_certificate(&self) -> Option<Certificate> {
        match self {
            Self::Quic(inner) => inner.peer_certificate(),
            Self::Memory(inner) => inner.peer_certificate(),
            #[cfg(feature = "http2")]
            Self::Http2(_) => None,
        }
    }
}

fn quic_pair((send, recv): (quic::SendStream, quic::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream::Quic(send), RecvStream::Quic(recv))
}

fn memory_pair((send, recv): (memory::SendStream, memory::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream::Memory(send), RecvStream::Memory(recv))
}

/// The sending half of a stream. Dropping it without [`finish`](Self::finish) resets the stream, so that a partial
/// message never looks complete.
#[derive(Debug)]
pub(crate) enum SendStream {
    Quic(quic::SendStream),
    Memory(memory::SendStream),
}

impl SendStream {
    /// Returns the ID of the stream, which is the same on both ends (RFC 9000, section 2.1).
    pub(crate) fn id(&self) -> u64 {
        either_half!(self, inner => inner.id())
    }

    /// Writes a chunk. Waits while flow control blocks it. Not cancel safe.
    pub(crate) async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamLost> {
        either_half!(self, inner => inner.write_chunk(chunk).await)
    }

    /// Ends the stream after the data written so far.
    pub(crate) fn finish(&mut self) {
        either_half!(self, inner => inner.finish());
    }

    /// Resets the stream.
    pub(crate) fn reset(&mut self, code: u32) {
        either_half!(self, inner => inner.reset(code));
    }

    pub(crate) fn stopped(&self) -> Stopped {
        either_half!(self, inner => inner.stopped())
    }
}

/// The receiving half of a stream. Dropping it before its end stops the stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the small variant is for tests
pub(crate) enum RecvStream {
    Quic(quic::RecvStream),
    Memory(memory::RecvStream),
    Datagrams(Datagrams),
}

macro_rules! each {
    ($self:expr, $inner:ident => $body:expr) => {
        match $self {
            Self::Quic($inner) => $body,
            Self::Memory($inner) => $body,
            Self::Datagrams($inner) => $body,
        }
    };
}

impl RecvStream {
    /// Returns the ID of the stream, which is the same on both ends, or `None` for datagrams.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Quic(inner) => Some(inner.id()),
            Self::Memory(inner) => Some(inner.id()),
            Self::Datagrams(_) => None,
        }
    }

    /// Returns what the calls of the stream have from outside of their requests.
    pub(crate) fn defaults(&self) -> Option<&Arc<CallDefaults>> {
        match self {
            Self::Memory(inner) => inner.defaults(),
            Self::Quic(_) | Self::Datagrams(_) => None,
        }
    }

    /// Reads the next bytes in order. Returns `None` at the end. Cancel safe.
    pub(crate) async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        each!(self, inner => inner.read_chunk().await)
    }

    /// Asks the peer to stop sending.
    pub(crate) fn stop(&mut self, code: u32) {
        each!(self, inner => inner.stop(code));
    }

    /// Resolves when the peer resets the stream, or the connection is lost. Cancel safe.
    pub(crate) async fn was_reset(&mut self) {
        each!(self, inner => inner.was_reset().await)
    }
}

/// The datagrams of a connection as one stream, in which each datagram is a line.
#[derive(Debug)]
pub(crate) struct Datagrams {
    connection: Connection,
    /// A datagram that has been read already.
    first: Option<Bytes>,
    /// `true` if the LF after the previous datagram has not been read yet.
    within: bool,
}

impl Datagrams {
    pub(crate) fn new(connection: Connection, first: Bytes) -> Self {
        Self {
            connection,
            first: Some(first),
            within: false,
        }
    }

    async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        if std::mem::take(&mut self.within) {
            return Ok(Some(Bytes::from_static(b"\n")));
        }
        let datagram = match self.first.take() {
            Some(first) => first,
            None => self.connection.read_datagram().await?,
        };
        self.within = true;
        Ok(Some(datagram))
    }

    /// Does nothing: datagrams cannot be stopped.
    fn stop(&mut self, _: u32) {}

    async fn was_reset(&mut self) {
        self.connection.closed().await;
    }
}
