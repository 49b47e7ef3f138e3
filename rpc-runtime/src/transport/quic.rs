//! Implements the transport with quinn. No other module depends on quinn.

mod drivers;
#[cfg(feature = "server")]
mod listener;
#[cfg(feature = "server")]
mod server_socket;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{ReadError, VarInt, WriteError};
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sync::{Mutex, lock};
use crate::tls::{Certificate, HandshakeResult};
use crate::transport::error::{ConnectionError, DATAGRAMS, Stopped, StreamLost, Traffic, close};
use crate::transport::quic::drivers::Drivers;
use crate::transport::settings::{CongestionController, Role, TransportSettings};

#[cfg(feature = "server")]
pub(crate) use listener::{IncomingConnection, Listener, ListenerKeys, ListenerSocket};

/// The protocol that both peers must offer in the handshake.
pub(crate) const ALPN: &[u8] = b"jsonrpc/1";

/// The maximum number of chunks that one read takes.
const CHUNKS: usize = 16;

/// The round-trip time that is assumed before the first measurement. A handshake's first packet is repeated after three
/// times as long. With the 333 ms of RFC 9002 a client that connects while a server starts would wait for a second.
const INITIAL_RTT: Duration = Duration::from_millis(50);

fn transport(settings: &TransportSettings, role: Role) -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        // A timeout that the wire format cannot express would disable the limit. The range of the setting prevents it.
        .max_idle_timeout(settings.idle_timeout.try_into().ok())
        .initial_rtt(INITIAL_RTT)
        .keep_alive_interval(settings.keep_alive(role))
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.max_streams))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .stream_receive_window(VarInt::from_u32(settings.stream_receive_window))
        .receive_window(VarInt::from_u32(settings.receive_window))
        .send_window(settings.send_window.into())
        .send_fairness(false)
        .congestion_controller_factory(congestion(settings.congestion_controller))
        .mtu_discovery_config(discovery(settings.max_mtu))
        .enable_segmentation_offload(settings.max_mtu <= LARGEST_SEGMENT)
        // Reordering alone does not mark packets as lost.
        .packet_threshold(u32::MAX)
        .time_threshold(1.5);
    Arc::new(config)
}

fn congestion(
    controller: CongestionController,
) -> Arc<dyn quinn::congestion::ControllerFactory + Send + Sync> {
    use quinn::congestion::{BbrConfig, CubicConfig, NewRenoConfig};
    match controller {
        CongestionController::Cubic => Arc::new(CubicConfig::default()),
        CongestionController::Bbr => Arc::new(BbrConfig::default()),
        CongestionController::NewReno => Arc::new(NewRenoConfig::default()),
    }
}

/// The size with which every connection begins, in bytes (RFC 9000, section 14).
const INITIAL_MTU: u16 = 1_200;

/// The largest packet of which the system sends ten at once, as quinn does: together they have at most 64 KiB with their
/// headers. The system rejects a larger burst, and quinn takes that for a lost packet.
const LARGEST_SEGMENT: u16 = 6_550;

fn discovery(largest_packet: u16) -> Option<quinn::MtuDiscoveryConfig> {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(largest_packet);
    Some(discovery).filter(|_| largest_packet > INITIAL_MTU)
}

/// Lets an endpoint receive the packets that its settings allow.
fn accept_packets(config: &mut quinn::EndpointConfig, settings: &TransportSettings) {
    let default = config.get_max_udp_payload_size();
    if u64::from(settings.max_mtu) > default {
        let accepted = config.max_udp_payload_size(settings.max_mtu);
        accepted.expect("the range of the setting is that of QUIC");
    }
}

/// An endpoint of clients.
#[derive(Debug, Clone)]
struct ClientEndpoint {
    endpoint: quinn::Endpoint,
    drivers: Arc<Drivers>,
}

impl ClientEndpoint {
    fn new(socket: UdpSocket, settings: &TransportSettings) -> std::io::Result<Self> {
        let drivers =
            Drivers::new().ok_or_else(|| std::io::Error::other("there is no tokio runtime"))?;
        let mut config = quinn::EndpointConfig::default();
        accept_packets(&mut config, settings);
        let endpoint = quinn::Endpoint::new(config, None, socket, drivers.runtime())?;
        Ok(Self { endpoint, drivers })
    }

    /// Moves the connections to another socket, also outside the runtime.
    fn rebind(&self, socket: UdpSocket) -> std::io::Result<()> {
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

/// Opens a socket whose buffers have this number of bytes, or what the system allows. With small buffers, a burst of large
/// replies loses packets before the peer reads them.
fn socket(address: SocketAddr, buffer: usize) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // A larger buffer is left as it is. A system with a lower limit reduces the size, or fails.
    if socket.recv_buffer_size().is_ok_and(|bytes| bytes < buffer) {
        (0..6).find(|halved| socket.set_recv_buffer_size(buffer >> halved).is_ok());
    }
    if socket.send_buffer_size().is_ok_and(|bytes| bytes < buffer) {
        (0..6).find(|halved| socket.set_send_buffer_size(buffer >> halved).is_ok());
    }
    if address.is_ipv6() {
        // Some systems do not support dual-stack sockets.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Returns the unspecified address and port of `peer`'s address family.
fn any(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Returns the IPv4 address of a peer that a dual-stack socket shows as `::ffff:192.0.2.1`, and other addresses as they are.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => (ip, peer.port()).into(),
        // Keeps the scope of a link-local address.
        std::net::IpAddr::V6(_) => peer,
    }
}

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
pub struct ClientSocket(ClientEndpoint);

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

/// The reason why a handshake failed, as QUIC reports it.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Socket(std::io::Error),
    /// The server name is not one that TLS can verify.
    Name,
    /// The server does not support this protocol.
    Alpn,
    /// The server requires a certificate.
    CertificateRequired,
    /// The server rejected the certificate with this TLS alert.
    CertificateRefused(u8),
    Lost(ConnectionError),
}

/// The transport of a client: its settings, and the socket that it shares with other clients.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientTransport {
    pub(crate) settings: TransportSettings,
    /// `None` if each connection has a socket of its own.
    pub(crate) socket: Option<ClientSocket>,
}

impl ClientTransport {
    /// Returns the socket for a connection to this address.
    fn socket(&self, address: SocketAddr) -> std::io::Result<LocalSocket> {
        if let Some(ClientSocket(shared)) = &self.socket {
            return Ok(LocalSocket::Shared(shared.clone()));
        }
        let buffer = self.settings.socket_buffer_bytes as usize;
        let endpoint = ClientEndpoint::new(socket(any(address), buffer)?, &self.settings)?;
        Ok(LocalSocket::Own { endpoint, buffer })
    }

    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: rustls::ClientConfig,
        handshake_result: &HandshakeResult,
    ) -> Result<Connection, HandshakeError> {
        let config = self.config(tls).map_err(HandshakeError::Socket)?;
        let local = self.socket(address).map_err(HandshakeError::Socket)?;
        let endpoint = local.client().map(|client| client.endpoint.clone());
        let endpoint = endpoint
            .ok_or_else(|| HandshakeError::Socket(std::io::ErrorKind::NotConnected.into()))?;
        let connection = connect(&endpoint, config, (address, server_name)).await?;
        if handshake_result.certificate_was_requested() {
            answered(&connection).await.map_err(handshake_error)?;
        }
        let unread = Windows::of(&self.settings).unread();
        Ok(Connection(connection, local, unread))
    }

    fn config(&self, mut tls: rustls::ClientConfig) -> std::io::Result<quinn::ClientConfig> {
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(std::io::Error::other)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(transport(&self.settings, Role::Client));
        Ok(config)
    }
}

async fn connect(
    endpoint: &quinn::Endpoint,
    config: quinn::ClientConfig,
    (address, server_name): (SocketAddr, &str),
) -> Result<quinn::Connection, HandshakeError> {
    let connecting = endpoint
        .connect_with(config, address, server_name)
        .map_err(|error| match error {
            quinn::ConnectError::InvalidServerName(_) => HandshakeError::Name,
            error => HandshakeError::Socket(std::io::Error::other(error)),
        })?;
    let connection = connecting.await.map_err(handshake_error)?;
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok());
    if data.and_then(|data| data.protocol).as_deref() != Some(ALPN) {
        connection.close(close::DONE.into(), b"");
        return Err(HandshakeError::Alpn);
    }
    Ok(connection)
}

/// Waits until the server has verified this client's certificate. With TLS 1.3 the client's handshake completes before
/// that. The server ends an empty stream, but only after the handshake.
async fn answered(connection: &quinn::Connection) -> Result<(), quinn::ConnectionError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // If the server stops the stream, the handshake has succeeded as well.
    let _ = send.finish();
    match recv.read_to_end(0).await {
        Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(error),
        _ => Ok(()),
    }
}

/// The codes of TLS alerts ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
mod alert {
    /// The alerts from `bad_certificate` to `certificate_unknown`.
    pub(super) const CERTIFICATE: std::ops::RangeInclusive<u8> = 42..=46;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const ACCESS_DENIED: u8 = 49;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// The reason of a connection that the server refuses. The server names the limit in its log only, since the client's address
/// may be forged.
const REFUSED: &str = "the server refuses further connections (CONNECTION_REFUSED): it is shutting down, or one of its limits is reached, \
     usually `Limits::max_connections_per_address` (64 by default); close clients that are not used, share one `Client` \
     in the process, or raise the limit that the log of the server names";

fn handshake_error(error: quinn::ConnectionError) -> HandshakeError {
    let (code, by_server) = match &error {
        quinn::ConnectionError::TransportError(error) => (error.code, false),
        quinn::ConnectionError::ConnectionClosed(close) => (close.error_code, true),
        _ => return HandshakeError::Lost(lost(error)),
    };
    if by_server && code == quinn::TransportErrorCode::CONNECTION_REFUSED {
        return HandshakeError::Lost(ConnectionError::Transport(REFUSED.into()));
    }
    // QUIC carries an alert in the lowest byte of an error (RFC 9001, section 4.8).
    let number = u64::from(code) as u8;
    match number {
        _ if code != quinn::TransportErrorCode::crypto(number) => HandshakeError::Lost(lost(error)),
        alert::NO_APPLICATION_PROTOCOL => HandshakeError::Alpn,
        alert::CERTIFICATE_REQUIRED if by_server => HandshakeError::CertificateRequired,
        alert::UNKNOWN_CA | alert::ACCESS_DENIED | alert::DECRYPT_ERROR if by_server => {
            HandshakeError::CertificateRefused(number)
        }
        number if by_server && alert::CERTIFICATE.contains(&number) => {
            HandshakeError::CertificateRefused(number)
        }
        _ => HandshakeError::Lost(lost(error)),
    }
}

fn lost(error: quinn::ConnectionError) -> ConnectionError {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => ConnectionError::ClosedByPeer {
            code: close.error_code.into_inner(),
            reason: String::from_utf8_lossy(&close.reason)
                .escape_debug()
                .to_string(),
        },
        quinn::ConnectionError::LocallyClosed => ConnectionError::ClosedHere,
        quinn::ConnectionError::TimedOut => ConnectionError::TimedOut,
        quinn::ConnectionError::Reset => ConnectionError::Reset,
        error => ConnectionError::Transport(error.to_string().escape_debug().to_string()),
    }
}

/// A connection, its local socket, and the number of its streams that may stay unread.
#[derive(Debug, Clone)]
pub(crate) struct Connection(quinn::Connection, LocalSocket, Arc<Mutex<Unread>>);

/// The local socket of a connection.
#[derive(Debug, Clone)]
enum LocalSocket {
    /// The socket of a server, with all of its connections.
    #[cfg(feature = "server")]
    Server,
    /// The socket of a client's only connection, and the size of its buffers.
    Own {
        endpoint: ClientEndpoint,
        buffer: usize,
    },
    /// A [`ClientSocket`].
    Shared(ClientEndpoint),
}

impl LocalSocket {
    /// Returns the endpoint of a client.
    fn client(&self) -> Option<&ClientEndpoint> {
        match self {
            Self::Own { endpoint, .. } | Self::Shared(endpoint) => Some(endpoint),
            #[cfg(feature = "server")]
            Self::Server => None,
        }
    }
}

/// The receive windows of a stream and of a connection without streams that may stay unread, in bytes.
#[derive(Debug, Clone, Copy)]
struct Windows {
    stream: u32,
    connection: u32,
}

impl Windows {
    fn of(settings: &TransportSettings) -> Self {
        Self {
            stream: settings.stream_receive_window,
            connection: settings.receive_window,
        }
    }

    /// Returns the window of a connection with this number of streams that may stay unread.
    fn with(self, streams: u32) -> VarInt {
        let unread = u64::from(self.stream) * u64::from(streams);
        // quinn announces a new limit when an eighth of the window has been read, so the other streams need as much.
        let others = u64::from(self.connection).max(unread / 7 + 1);
        (unread + others).try_into().unwrap_or(VarInt::MAX)
    }

    fn unread(self) -> Arc<Mutex<Unread>> {
        Arc::new(Mutex::new(Unread {
            windows: self,
            streams: 0,
            most: 0,
        }))
    }
}

/// The number of streams that may stay unread without limit.
#[derive(Debug)]
struct Unread {
    windows: Windows,
    streams: u32,
    /// The maximum that `streams` has had.
    most: u32,
}

/// A part of the connection's window for a stream that may stay unread, so that it does not block other streams.
#[derive(Debug)]
pub(crate) struct Room {
    unread: Arc<Mutex<Unread>>,
    bytes: u32,
}

impl Room {
    /// Returns the number of bytes by which the window is wider.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.unread).streams -= 1;
    }
}

impl Connection {
    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.0.open_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        self.0.accept_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        self.0.open_uni().await.map(SendStream::new).map_err(lost)
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        self.0.accept_uni().await.map(RecvStream::new).map_err(lost)
    }

    pub(crate) fn datagram_size(&self) -> Option<usize> {
        self.0.max_datagram_size()
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        self.0.send_datagram(datagram).is_ok()
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionError> {
        self.0.read_datagram().await.map_err(lost)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.0.close(code.into(), reason.as_bytes());
        if let Some(local) = self.1.client() {
            local.drivers.flush();
        }
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        lost(self.0.closed().await)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        canonical(self.0.remote_address())
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let stats = self.0.stats();
        Traffic {
            received: stats.udp_rx.datagrams,
            sent: stats.udp_tx.datagrams,
            round_trip: stats.path.rtt,
        }
    }

    pub(crate) fn peer_certificate(&self) -> Option<Certificate> {
        let chain: Box<Vec<CertificateDer<'static>>> = self.0.peer_identity()?.downcast().ok()?;
        chain.into_iter().next().map(Certificate::new)
    }

    /// Widens the receive window for one more stream that may stay unread. The window never shrinks, so later streams
    /// reuse it.
    pub(crate) fn make_room(&self) -> Room {
        let Self(connection, _, all) = self;
        let mut unread = lock(all);
        let stream = unread.windows.stream;
        unread.streams += 1;
        if unread.streams > unread.most {
            unread.most = unread.streams;
            connection.set_receive_window(unread.windows.with(unread.most));
        }
        Room {
            unread: Arc::clone(all),
            bytes: stream,
        }
    }

    /// Moves the connection to a new socket, if this side is the client.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        match &self.1 {
            LocalSocket::Own { endpoint, buffer } => {
                let socket = socket(any(self.0.remote_address()), *buffer)?;
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

#[derive(Debug)]
pub(crate) struct SendStream {
    stream: quinn::SendStream,
    finished: bool,
}

impl SendStream {
    fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            finished: false,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    pub(crate) async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StreamLost> {
        self.stream
            .write_chunk(chunk)
            .await
            .map_err(|error| match error {
                WriteError::Stopped(code) => StreamLost::Stopped(code.into_inner()),
                WriteError::ConnectionLost(error) => lost(error).into(),
                WriteError::ClosedStream | WriteError::ZeroRttRejected => {
                    StreamLost::Stopped(close::CANCELLED.into())
                }
            })
    }

    pub(crate) fn finish(&mut self) {
        self.finished = true;
        // Fails if the peer has stopped the stream, which then need not be finished.
        let _ = self.stream.finish();
    }

    pub(crate) fn reset(&mut self, code: u32) {
        // Fails if the stream has ended, which then need not be reset.
        let _ = self.stream.reset(code.into());
    }

    pub(crate) fn stopped(&self) -> Stopped {
        let stopped = self.stream.stopped();
        Box::pin(async {
            let _ = stopped.await;
        })
    }
}

/// Resets an unfinished stream. quinn would finish it, which makes a partial message look complete.
impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.finished {
            self.reset(close::CANCELLED);
        }
    }
}

#[derive(Debug)]
pub(crate) struct RecvStream {
    stream: quinn::RecvStream,
    /// The received chunks; those from `next` to `filled` are not returned yet.
    chunks: [Bytes; CHUNKS],
    next: usize,
    filled: usize,
    /// The end of the stream, if it was reached.
    end: Option<Result<(), StreamLost>>,
}

impl RecvStream {
    fn new(stream: quinn::RecvStream) -> Self {
        Self {
            stream,
            chunks: Default::default(),
            next: 0,
            filled: 0,
            end: None,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    pub(crate) async fn read_chunk(&mut self) -> Result<Option<Bytes>, StreamLost> {
        if self.next == self.filled {
            self.next = 0;
            self.filled = 0;
            if self.end.is_none() {
                self.fill().await;
            }
        }
        match (self.chunks.get_mut(self.next), &self.end) {
            (Some(chunk), _) if self.next < self.filled => {
                self.next += 1;
                Ok(Some(std::mem::take(chunk)))
            }
            (_, Some(Err(lost))) => Err(lost.clone()),
            _ => Ok(None),
        }
    }

    pub(crate) fn stop(&mut self, code: u32) {
        // Fails if the stream was read to its end, which then need not be stopped.
        let _ = self.stream.stop(code.into());
    }

    /// Reads more chunks once.
    async fn fill(&mut self) {
        let Some(room) = self.chunks.get_mut(self.filled..) else {
            return;
        };
        match self.stream.read_chunks(room).await {
            Ok(Some(read)) => self.filled += read,
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => {
                self.end = Some(Err(match error {
                    ReadError::Reset(code) => StreamLost::Reset(code.into_inner()),
                    ReadError::ConnectionLost(error) => lost(error).into(),
                    _ => StreamLost::Reset(close::CANCELLED.into()),
                }));
            }
        }
    }

    /// Reads ahead into the free chunks to detect a reset after them. quinn's own future for resets is not used: its
    /// debug builds panic if it is dropped and the stream is then read to its end.
    pub(crate) async fn was_reset(&mut self) {
        while self.end.is_none() && self.filled < CHUNKS {
            self.fill().await;
        }
        if !matches!(self.end, Some(Err(_))) {
            std::future::pending().await
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(close::CANCELLED);
    }
}
