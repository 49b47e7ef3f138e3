//! The seam to the network: a connection opens and accepts streams, a stream moves chunks of bytes.
//!
//! Only [`quic`] names QUIC's library; [`memory`] is the same without a socket.

pub(crate) mod error;
pub(crate) mod memory;
pub(crate) mod quic;
pub(crate) mod write_buffer;

use std::net::SocketAddr;

use bytes::Bytes;

use crate::tls::Certificate;
pub use crate::transport::error::ConnectionLost;
pub(crate) use crate::transport::error::{Stopped, StreamLost, Traffic, close};

#[derive(Debug, Clone)]
pub(crate) enum Connection {
    Quic(quic::Connection),
    Memory(memory::Connection),
}

macro_rules! either {
    ($self:expr, $inner:ident => $body:expr) => {
        match $self {
            Self::Quic($inner) => $body,
            Self::Memory($inner) => $body,
        }
    };
}

impl Connection {
    /// Opens a bidirectional stream; waits while the other side allows no more.
    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        Ok(match self {
            Self::Quic(inner) => quic_pair(inner.open_bi().await?),
            Self::Memory(inner) => memory_pair(inner.open_bi()?),
        })
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        Ok(match self {
            Self::Quic(inner) => quic_pair(inner.accept_bi().await?),
            Self::Memory(inner) => memory_pair(inner.accept_bi().await?),
        })
    }

    /// Opens a unidirectional stream; waits while the other side allows no more.
    pub(crate) async fn open_uni(&self) -> Result<SendStream, ConnectionLost> {
        Ok(match self {
            Self::Quic(inner) => SendStream::Quic(inner.open_uni().await?),
            Self::Memory(inner) => SendStream::Memory(inner.open_uni()?),
        })
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionLost> {
        Ok(match self {
            Self::Quic(inner) => RecvStream::Quic(inner.accept_uni().await?),
            Self::Memory(inner) => RecvStream::Memory(inner.accept_uni().await?),
        })
    }

    /// Bytes that a datagram can have now; `None` if the other side takes none.
    pub(crate) fn datagram_size(&self) -> Option<usize> {
        either!(self, inner => inner.datagram_size())
    }

    /// Sends a datagram, which may be lost; says whether it was taken.
    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        either!(self, inner => inner.send_datagram(datagram))
    }

    /// The next datagram that has arrived. Cancel safe.
    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionLost> {
        either!(self, inner => inner.read_datagram().await)
    }

    /// Ends the connection at once; what was not yet acknowledged is lost.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        either!(self, inner => inner.close(code, reason));
    }

    /// Waits until the connection is no more.
    pub(crate) async fn closed(&self) -> ConnectionLost {
        either!(self, inner => inner.closed().await)
    }

    /// Room for a stream that may stay unread, where streams share any.
    pub(crate) fn make_room(&self) -> Option<quic::Room> {
        match self {
            Self::Quic(inner) => Some(inner.make_room()),
            Self::Memory(_) => None,
        }
    }

    /// Goes on from another address, if there are any.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        match self {
            Self::Quic(inner) => inner.rebind(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// What has come and left, if it does so in datagrams.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        match self {
            Self::Quic(inner) => Some(inner.traffic()),
            Self::Memory(_) => None,
        }
    }

    /// The other side's address, if it is not in this process.
    pub(crate) fn remote_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Quic(inner) => Some(inner.remote_address()),
            Self::Memory(_) => None,
        }
    }

    /// The certificate that the other side has shown, if it was asked for one.
    pub(crate) fn peer_certificate(&self) -> Option<Certificate> {
        match self {
            Self::Quic(inner) => inner.peer_certificate(),
            Self::Memory(_) => None,
        }
    }
}

fn quic_pair((send, recv): (quic::SendStream, quic::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream::Quic(send), RecvStream::Quic(recv))
}

fn memory_pair((send, recv): (memory::SendStream, memory::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream::Memory(send), RecvStream::Memory(recv))
}

/// The sending half of a stream. Dropped without [`finish`](Self::finish) it resets the stream: a half-written
/// message never looks like an end.
#[derive(Debug)]
pub(crate) enum SendStream {
    Quic(quic::SendStream),
    Memory(memory::SendStream),
}

impl SendStream {
    /// The ID of the stream, the same on both ends (RFC 9000, section 2.1).
    pub(crate) fn id(&self) -> u64 {
        either!(self, inner => inner.id())
    }

    /// Hands over a chunk; waits while the other side has no room. Not cancel safe.
    pub(crate) async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamLost> {
        either!(self, inner => inner.write_chunk(chunk).await)
    }

    /// Says that nothing follows.
    pub(crate) fn finish(&mut self) {
        either!(self, inner => inner.finish());
    }

    /// Abandons the stream.
    pub(crate) fn reset(&mut self, code: u32) {
        either!(self, inner => inner.reset(code));
    }

    pub(crate) fn stopped(&self) -> Stopped {
        either!(self, inner => inner.stopped())
    }
}

/// The receiving half of a stream. Dropped before its end it tells the other side to stop.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the small one is for tests
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
    /// The ID of the stream, the same on both ends; `None` for datagrams.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Quic(inner) => Some(inner.id()),
            Self::Memory(inner) => Some(inner.id()),
            Self::Datagrams(_) => None,
        }
    }

    /// The next bytes in order; `None` at the end. Cancel safe.
    pub(crate) async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        each!(self, inner => inner.read_chunk().await)
    }

    /// Tells the other side to send no more.
    pub(crate) fn stop(&mut self, code: u32) {
        each!(self, inner => inner.stop(code));
    }

    /// Resolves when the other side abandons the stream, or the connection is lost. Cancel safe.
    pub(crate) async fn was_reset(&mut self) {
        each!(self, inner => inner.was_reset().await)
    }
}

/// The datagrams of a connection as one stream, in which each begins a line and ends one.
#[derive(Debug)]
pub(crate) struct Datagrams {
    connection: Connection,
    /// One that was read already.
    first: Option<Bytes>,
    /// The end of the one before was not read yet.
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

    /// Nobody can be told.
    fn stop(&mut self, _: u32) {}

    async fn was_reset(&mut self) {
        self.connection.closed().await;
    }
}
