//! One attempt to connect: the socket that it uses again, and its time limit for the first packet of the server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

use crate::transport::quic::connection::{Connection, LocalSocket};

/// The settings of one attempt to connect.
#[derive(Debug, Clone)]
pub(crate) struct ConnectAttempt {
    /// The attempt fails if the server has not sent any packet of a handshake by then. A server that has answered is busy, and
    /// another attempt would only increase its work.
    pub(crate) answer_timeout: Duration,
    /// The socket of a connection that was reset. A new socket takes a good part of the time of a handshake, most of it for
    /// clearing its receive buffer of 3 MiB. The reset shows that the server is reached on the path of this socket.
    pub(crate) socket: Option<SpareSocket>,
}

impl Default for ConnectAttempt {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::MAX,
            socket: None,
        }
    }
}

/// The socket of a client's connection, which another connection can use when that one is lost.
#[derive(Debug, Clone)]
pub(crate) struct SpareSocket(LocalSocket);

impl ConnectAttempt {
    /// Returns the spare socket, if it is of the family of this address.
    pub(super) fn socket(&self, address: SocketAddr) -> Option<LocalSocket> {
        let SpareSocket(local) = self.socket.as_ref()?;
        let is_ipv6 = local.client()?.endpoint.local_addr().ok()?.is_ipv6();
        (is_ipv6 == address.is_ipv6()).then(|| local.clone())
    }

    /// Resolves when the time limit has passed without an answer of the server.
    pub(super) async fn is_unanswered(&self, local: &LocalSocket) {
        let answers = || match local {
            LocalSocket::Own { endpoint, .. } => endpoint.drivers.answers().get(),
            // The socket does not show which client is answered.
            _ => 0,
        };
        let before = answers();
        sleep(self.answer_timeout).await;
        if answers() != before {
            std::future::pending::<()>().await;
        }
    }
}

impl Connection {
    /// Returns the socket, if the connection does not share it.
    pub(crate) fn spare_socket(&self) -> Option<SpareSocket> {
        let is_own = matches!(self.local, LocalSocket::Own { .. });
        is_own.then(|| SpareSocket(self.local.clone()))
    }
}
