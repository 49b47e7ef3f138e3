//! QUIC, by quinn. No other file names it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::{IDLE, Limits};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::tls::{Certificate, Verdict};
use crate::transport::error::{ConnectionLost, DATAGRAMS, Stopped, StreamLost, Traffic, close};

/// The protocol that both sides must name in the handshake.
pub(crate) const ALPN: &[u8] = b"jsonrpc/1";

/// How many chunks one look at a stream takes.
const CHUNKS: usize = 16;

/// How often a client breaks the silence.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes that may come on a stream before they are read: the largest request.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same on all streams of a connection, those aside that may stay unread.
const WINDOW: u32 = 8 << 20;

/// Bidirectional streams that the other side may have open. A client uses 100 of them at once; quinn tells of room for more
/// only when an eighth of all has ended.
const STREAMS: u32 = 128;

fn transport(idle: Duration, keep_alive: Option<Duration>) -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        // One that no number on the wire can tell is none.
        .max_idle_timeout(idle.try_into().ok())
        .keep_alive_interval(keep_alive)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .datagram_receive_buffer_size(Some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(8 << 20)
        .send_fairness(false)
        // Packets that others overtook are not lost yet.
        .packet_threshold(u32::MAX)
        .time_threshold(1.5);
    Arc::new(config)
}

/// Bytes of packets that the system may hold for a socket: with less of them a burst of large replies loses packets
/// before anybody had time to read them.
const SOCKET_BUFFER: usize = 4 << 20;

/// Connection ids that carry no mark of the process that gave them out: a server that was restarted also answers
/// packets for those of the one before it, with a reset.
struct RandomIds(SystemRandom);

impl RandomIds {
    const LENGTH: usize = 8;
}

impl quinn::ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; Self::LENGTH];
        self.0
            .fill(&mut id)
            .expect("the handshake found randomness");
        quinn::ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        Self::LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint(
    address: SocketAddr,
    config: quinn::EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> std::io::Result<quinn::Endpoint> {
    let socket = socket(address)?;
    let runtime = quinn::default_runtime()
        .ok_or_else(|| std::io::Error::other("there is no tokio runtime"))?;
    quinn::Endpoint::new(config, server, socket, runtime)
}

fn socket(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // One that is larger already stays as it is. A system that allows less gives what it allows, or refuses.
    if socket
        .recv_buffer_size()
        .is_ok_and(|bytes| bytes < SOCKET_BUFFER)
    {
        (0..6).find(|halved| socket.set_recv_buffer_size(SOCKET_BUFFER >> halved).is_ok());
    }
    if socket
        .send_buffer_size()
        .is_ok_and(|bytes| bytes < SOCKET_BUFFER)
    {
        (0..6).find(|halved| socket.set_send_buffer_size(SOCKET_BUFFER >> halved).is_ok());
    }
    if address.is_ipv6() {
        // Some systems have no such choice.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Any port, for packets to `peer`.
fn any(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Bytes that a client may send before the server has looked at its first packet.
const INCOMING: u64 = 64 << 10;

/// A server's socket.
#[derive(Debug, Clone)]
pub(crate) struct Listener(quinn::Endpoint);

/// A client on its way in.
pub(crate) struct IncomingConnection(quinn::Incoming);

impl Listener {
    pub(crate) fn bind(
        address: SocketAddr,
        mut tls: rustls::ServerConfig,
        reset_key: hmac::Key,
        limits: &Limits,
    ) -> std::io::Result<Self> {
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // A replayed first flight must not call anything.
        tls.max_early_data_size = 0;
        let crypto = QuicServerConfig::try_from(tls).map_err(std::io::Error::other)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(transport(limits.idle_timeout, None))
            .max_incoming(limits.handshakes)
            .incoming_buffer_size(INCOMING)
            .incoming_buffer_size_total(INCOMING.saturating_mul(limits.handshakes as u64));
        let mut lasting = quinn::EndpointConfig::new(Arc::new(reset_key));
        lasting.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
        endpoint(address, lasting, Some(config)).map(Self)
    }

    pub(crate) fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next client; `None` once the socket is closed.
    pub(crate) async fn accept(&self) -> Option<IncomingConnection> {
        self.0.accept().await.map(IncomingConnection)
    }

    /// Closes every connection and takes no more.
    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.0.close(code.into(), reason.as_bytes());
    }

    /// Waits until the other sides know that their connections are closed.
    pub(crate) async fn idle(&self) {
        self.0.wait_idle().await;
    }
}

impl IncomingConnection {
    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Whether the client is known to hear what is sent to its address.
    pub(crate) fn is_proven(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Tells the client to come again with a token that is only sent to its address.
    pub(crate) fn ask_for_proof(self) {
        // One that has brought a token is refused.
        let _ = self.0.retry();
    }

    pub(crate) fn ignore(self) {
        self.0.ignore();
    }

    pub(crate) async fn handshake(self) -> Result<Connection, ConnectionLost> {
        let connection = self.0.accept().map_err(lost)?.await.map_err(lost)?;
        Ok(Connection(connection, None, Arc::default()))
    }

    pub(crate) fn refuse(self) {
        self.0.refuse();
    }
}

/// Why a handshake failed, as far as QUIC knows.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Socket(std::io::Error),
    /// The name is none that TLS can check.
    Name,
    /// The server does not speak this protocol.
    Alpn,
    /// The server wants a certificate.
    CertificateRequired,
    /// The server does not accept the certificate, and says why by an alert of TLS.
    CertificateRefused(u8),
    Lost(ConnectionLost),
}

/// Connects from a socket of its own.
pub(crate) async fn connect(
    address: SocketAddr,
    server_name: &str,
    mut tls: rustls::ClientConfig,
    verdict: &Verdict,
) -> Result<Connection, HandshakeError> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|error| HandshakeError::Socket(std::io::Error::other(error)))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(IDLE, Some(KEEP_ALIVE)));
    let endpoint = endpoint(any(address), quinn::EndpointConfig::default(), None)
        .map_err(HandshakeError::Socket)?;
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
    if verdict.was_asked() {
        answered(&connection).await.map_err(handshake_error)?;
    }
    Ok(Connection(connection, Some(endpoint), Arc::default()))
}

/// Waits until the server has looked at this side's certificate: with TLS 1.3 the handshake is over for the client before
/// that. A server answers an empty stream by ending it, and answers nothing before it knows who asks.
async fn answered(connection: &quinn::Connection) -> Result<(), ConnectionError> {
    let (mut send, mut recv) = connection.open_bi().await?;
    // A server that stopped the stream has answered, too.
    let _ = send.finish();
    match recv.read_to_end(0).await {
        Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(error),
        _ => Ok(()),
    }
}

/// The numbers of TLS's alerts ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
mod alert {
    /// From `bad_certificate` to `certificate_unknown`.
    pub(super) const CERTIFICATE: std::ops::RangeInclusive<u8> = 42..=46;
    pub(super) const UNKNOWN_CA: u8 = 48;
    pub(super) const ACCESS_DENIED: u8 = 49;
    pub(super) const DECRYPT_ERROR: u8 = 51;
    pub(super) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

fn handshake_error(error: ConnectionError) -> HandshakeError {
    let (code, by_server) = match &error {
        ConnectionError::TransportError(error) => (error.code, false),
        ConnectionError::ConnectionClosed(close) => (close.error_code, true),
        _ => return HandshakeError::Lost(lost(error)),
    };
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

fn lost(error: ConnectionError) -> ConnectionLost {
    match error {
        ConnectionError::ApplicationClosed(close) => ConnectionLost::ClosedByPeer {
            code: close.error_code.into_inner(),
            reason: String::from_utf8_lossy(&close.reason)
                .escape_debug()
                .to_string(),
        },
        ConnectionError::LocallyClosed => ConnectionLost::ClosedHere,
        ConnectionError::TimedOut => ConnectionLost::TimedOut,
        ConnectionError::Reset => ConnectionLost::Reset,
        error => ConnectionLost::Transport(error.to_string().escape_debug().to_string()),
    }
}

/// A connection, and the socket that a client has for it alone.
#[derive(Debug, Clone)]
pub(crate) struct Connection(
    quinn::Connection,
    Option<quinn::Endpoint>,
    Arc<Mutex<Unread>>,
);

/// Streams that may stay unread for as long as they like.
#[derive(Debug, Default)]
struct Unread {
    streams: u32,
    /// How many there were at once.
    most: u32,
}

/// Room in the connection's window for a stream that may stay unread, so that all others go on without it.
#[derive(Debug)]
pub(crate) struct Room(Arc<Mutex<Unread>>);

impl Drop for Room {
    fn drop(&mut self) {
        unread(&self.0).streams -= 1;
    }
}

fn unread(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    lock(unread)
}

impl Connection {
    pub(crate) async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        self.0.open_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionLost> {
        self.0.accept_bi().await.map(pair).map_err(lost)
    }

    pub(crate) async fn open_uni(&self) -> Result<SendStream, ConnectionLost> {
        self.0.open_uni().await.map(SendStream::new).map_err(lost)
    }

    pub(crate) async fn accept_uni(&self) -> Result<RecvStream, ConnectionLost> {
        self.0.accept_uni().await.map(RecvStream::new).map_err(lost)
    }

    pub(crate) fn datagram_size(&self) -> Option<usize> {
        self.0.max_datagram_size()
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        self.0.send_datagram(datagram).is_ok()
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, ConnectionLost> {
        self.0.read_datagram().await.map_err(lost)
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.0.close(code.into(), reason.as_bytes());
    }

    pub(crate) async fn closed(&self) -> ConnectionLost {
        lost(self.0.closed().await)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
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

    /// Makes room for one more stream that may stay unread. A window that was widened once stays as wide: the next such
    /// stream costs nothing.
    pub(crate) fn make_room(&self) -> Room {
        let Self(connection, _, all) = self;
        let mut unread = unread(all);
        unread.streams += 1;
        if unread.streams > unread.most {
            unread.most = unread.streams;
            let window = u64::from(WINDOW) + u64::from(STREAM_WINDOW) * u64::from(unread.most);
            connection.set_receive_window(window.try_into().unwrap_or(VarInt::MAX));
        }
        Room(Arc::clone(all))
    }

    /// Goes on from another socket, if this side is the client's.
    pub(crate) fn rebind(&self) -> std::io::Result<()> {
        match &self.1 {
            Some(endpoint) => endpoint.rebind(socket(any(self.remote_address()))?),
            None => Ok(()),
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
        // A stream that the other side stopped has nothing to finish.
        let _ = self.stream.finish();
    }

    pub(crate) fn reset(&mut self, code: u32) {
        // One that is over has nothing to reset.
        let _ = self.stream.reset(code.into());
    }

    pub(crate) fn stopped(&self) -> Stopped {
        let stopped = self.stream.stopped();
        Box::pin(async {
            let _ = stopped.await;
        })
    }
}

/// quinn finishes a stream whose handle is dropped, which makes half a message look like an end.
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
    /// Chunks that have come; those from `next` to `filled` were not given out yet.
    chunks: [Bytes; CHUNKS],
    next: usize,
    filled: usize,
    /// How the stream ended.
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
        // A stream that was read to its end has nothing to stop.
        let _ = self.stream.stop(code.into());
    }

    /// Looks for more chunks once.
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

    /// Reads ahead as far as there is room, to notice a reset behind it. (Quinn can be asked for a reset alone; its debug
    /// builds do not survive that the question is dropped and the stream then read to its end.)
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
