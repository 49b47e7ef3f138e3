//! A connection, on either side.

use std::net::SocketAddr;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;

use crate::tls::Certificate;
use crate::transport::error::{ConnectionError, Traffic};
use crate::transport::quic::client_socket::ClientEndpoint;
use crate::transport::quic::error::lost;
use crate::transport::quic::stream::{RecvStream, SendStream};
use crate::transport::quic::udp::{any, canonical, socket};
use crate::transport::quic::window::{ReceiveWindow, Room, Windows};

/// A connection, its local socket, and its receive window.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    connection: quinn::Connection,
    pub(super) local: LocalSocket,
    window: ReceiveWindow,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection, local: LocalSocket, windows: Windows) -> Self {
        Self {
            connection,
            local,
            window: ReceiveWindow::new(windows),
        }
    }

    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.connection.open_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.connection.accept_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        self.connection
            .open_uni()
            .await
            .map(SendStream::new)
            .map_err(lost)
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        self.connection
            .accept_uni()
            .await
            .map(RecvStream::new)
            .map_err(lost)
    }

    pub(crate) fn datagram_size(&self) -> Option<usize> {
        self.connection.max_datagram_size()
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        self.connection.send_datagram(datagram).is_ok()
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.connection.read_datagram().await.map_err(lost)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.connection.close(code.into(), reason.as_bytes());
        if let Some(local) = self.local.client() {
            local.drivers.flush();
        }
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        lost(self.connection.closed().await)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let stats = self.connection.stats();
        Traffic {
            received: stats.udp_rx.datagrams,
            sent: stats.udp_tx.datagrams,
            round_trip: stats.path.rtt,
        }
    }

    pub(crate) fn peer_certificate(&self) -> Option<Certificate> {
        let chain: Box<Vec<CertificateDer<'static>>> =
            self.connection.peer_identity()?.downcast().ok()?;
        chain.into_iter().next().map(Certificate::new)
    }

    /// Widens the receive window for one more stream that may stay unread. The window never shrinks, so later streams
    /// reuse it.
    pub(crate) fn make_room(&self) -> Room {
        self.window.make_room(&self.connection)
    }

    /// Returns the number of streams without room of their own that leave the others no window if they stay unread.
    pub(crate) fn most_unread(&self) -> usize {
        self.window.most_unread()
    }

    /// Moves the connection to a new socket, if this side is the client.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        match &self.local {
            LocalSocket::Own { endpoint, buffer } => {
                let socket = socket(any(self.connection.remote_address()), *buffer)?;
                endpoint.rebind(socket)
            }
            LocalSocket::Shared(_) => Err(std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                "the client shares its socket; move all of its clients with `ClientSocket::rebind`",
            )),
            #[cfg(feature = "server")]
            LocalSocket::Server => Ok(()),
        }
    }
}

fn pair((send, recv): (quinn::SendStream, quinn::RecvStream)) -> (SendStream, RecvStream) {
    (SendStream::new(send), RecvStream::new(recv))
}

/// The local socket of a connection.
#[derive(Debug, Clone)]
pub(super) enum LocalSocket {
    /// The socket of a server, with all of its connections.
    #[cfg(feature = "server")]
    Server,
    /// The socket of a client's only connection, and the size of its buffers.
    Own {
        endpoint: ClientEndpoint,
        buffer: usize,
    },
    /// The socket of several clients.
    Shared(ClientEndpoint),
}

impl LocalSocket {
    /// Returns the endpoint of a client.
    pub(super) fn client(&self) -> Option<&ClientEndpoint> {
        match self {
            Self::Own { endpoint, .. } | Self::Shared(endpoint) => Some(endpoint),
            #[cfg(feature = "server")]
            Self::Server => None,
        }
    }
}
