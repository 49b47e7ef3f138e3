//! The sockets of clients.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use crate::transport::quic::config::accept_packets;
use crate::transport::quic::drivers::Drivers;
use crate::transport::quic::udp::socket;
use crate::transport::settings::TransportSettings;

/// A UDP socket that several clients share.
///
/// Otherwise each connection of a client has a socket of its own, on a port that the system chooses. A program shares a
/// socket if it has many clients, since each socket takes a file descriptor and a buffer of 3 MiB for received packets. It
/// also does so if a firewall requires a fixed local port, or for a socket with options of its own
/// ([`from_std`](Self::from_std)). One task receives the packets of all clients of the socket, so they share one core for
/// that part of the work.
///
/// Clones share the socket. It is closed when all clones, and the clients that use it, have been dropped.
///
/// ```
/// use rpc_runtime::{Client, ClientSocket, TransportSettings};
/// # use rpc_runtime::{Identity, Server, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let identity = Identity::self_signed(["127.0.0.1"])?;
/// # let trust = Trust::certificate(identity.certificate());
/// # let server = Server::builder(identity).bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// # tokio::spawn(server.run());
/// let socket = ClientSocket::bind("0.0.0.0:0", &TransportSettings::default())?;
/// let builder = Client::builder().trust(trust).socket(&socket);
/// let (one, other) = (builder.clone().connect(address).await?, builder.connect(address).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Families of addresses
///
/// A socket at an IPv4 address reaches servers with IPv4 addresses only, and one at an IPv6 address such as `[::]` reaches
/// both kinds where the system supports it, as Linux does.
#[derive(Clone)]
pub struct ClientSocket(pub(super) ClientEndpoint);

impl ClientSocket {
    /// Opens a socket at a local address. Of the settings, the sizes of the socket's buffers and the
    /// [`max_mtu`](TransportSettings::max_mtu) apply to the socket, and the others to the clients that get them
    /// ([`ClientBuilder::transport`](crate::ClientBuilder::transport)).
    ///
    /// # Errors
    /// Returns an error if the address cannot be resolved or bound, a setting is outside its range, or there is no tokio
    /// runtime. Resolving a name blocks the thread.
    ///
    /// # Panics
    /// Panics in a tokio runtime without I/O ([`enable_all`](tokio::runtime::Builder::enable_all)).
    pub fn bind(
        address: impl ToSocketAddrs,
        settings: &TransportSettings,
    ) -> std::io::Result<Self> {
        let found = address.to_socket_addrs()?.next();
        let address = found.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        Self::from_std(
            socket(address, settings.socket_buffer_bytes as usize)?,
            settings,
        )
    }

    /// Uses a socket that the program has opened. Its buffers are left as they are.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be used, a setting is outside its range, or there is no tokio runtime.
    ///
    /// # Panics
    /// Panics as [`bind`](Self::bind) does.
    pub fn from_std(socket: UdpSocket, settings: &TransportSettings) -> std::io::Result<Self> {
        let invalid = |error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error);
        settings.check().map_err(invalid)?;
        ClientEndpoint::new(socket, settings).map(Self)
    }

    /// Returns the local address of the socket.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Moves all clients to another socket, as [`Client::rebind`](crate::Client::rebind) does for one client. Calls in flight
    /// are not affected.
    ///
    /// # Errors
    /// Returns an error if the socket cannot be used, or if its address is of another family (IPv4 or IPv6) than that of
    /// the old socket, which then stays in use.
    pub fn rebind(&self, socket: UdpSocket) -> std::io::Result<()> {
        self.0.rebind(socket)
    }
}

impl fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientSocket")
            .field(&self.local_addr())
            .finish()
    }
}

/// An endpoint of clients.
#[derive(Debug, Clone)]
pub(super) struct ClientEndpoint {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) drivers: Arc<Drivers>,
}

impl ClientEndpoint {
    pub(super) fn new(socket: UdpSocket, settings: &TransportSettings) -> std::io::Result<Self> {
        let drivers =
            Drivers::new().ok_or_else(|| std::io::Error::other("there is no tokio runtime"))?;
        let mut config = quinn::EndpointConfig::default();
        accept_packets(&mut config, settings);
        let endpoint = quinn::Endpoint::new(config, None, socket, drivers.runtime())?;
        Ok(Self { endpoint, drivers })
    }

    /// Moves the connections to another socket, also outside the runtime.
    pub(super) fn rebind(&self, socket: UdpSocket) -> std::io::Result<()> {
        // A socket cannot send to an address in the form of the other family, as the connections have it.
        if self.endpoint.local_addr()?.is_ipv6() != socket.local_addr()?.is_ipv6() {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "the family of the socket's address, IPv4 or IPv6, is not that of the old socket",
            ));
        }
        let _runtime = self.drivers.enter();
        self.endpoint.rebind(socket)
    }
}
