//! A peer that shares no code with the framework: QUIC by quinn, JSON by serde_json.
//!
//! [`RawClient`] connects to servers of the framework, and clients of the framework connect to a [`RawServer`]. In
//! both cases a test has a [`RawConnection`] and performs each step on its streams. A step that fails ends the test with
//! a panic.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    Connecting, Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream,
    TransportConfig, VarInt,
};
use rpc_runtime::{Client, ClientBuilder, Trust};
use serde_json::Value;

use crate::message::{call, line, result};
use crate::support::{TestServer, soon};

/// The protocol of the framework, as it is negotiated by ALPN.
pub const PROTOCOL: &str = "jsonrpc/1";

/// The server has shut down and answered everything that it executed.
pub const SHUT_DOWN: VarInt = VarInt::from_u32(0x10);
/// The server has shut down before calls had ended.
pub const ABORTED: VarInt = VarInt::from_u32(0x11);
/// The peer exceeds a limit.
pub const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x13);
/// A stream took too long.
pub const TIMED_OUT: VarInt = VarInt::from_u32(0x14);
/// The calls of a stream were cancelled.
pub const CANCELLED: VarInt = VarInt::from_u32(0x20);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Returns a transport that takes `bytes` of a stream before they are read.
pub fn receive_window(bytes: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(bytes.into());
    transport
}

/// A raw client of one server, which connects on request.
#[derive(Debug, Clone)]
pub struct RawClient {
    address: SocketAddr,
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
    local: IpAddr,
}

impl RawClient {
    /// Connects to `server`.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect(server: &TestServer) -> RawConnection {
        Self::new(server).dial().await
    }

    /// Connects to `server`, and takes a thousand bytes of each stream before they are read.
    ///
    /// # Panics
    /// When that fails.
    pub async fn connect_with_small_window(server: &TestServer) -> RawConnection {
        Self::connect_with_window(server, 1000).await
    }

    /// Connects with a receive window of this number of bytes, for all streams together.
    pub async fn connect_with_window(server: &TestServer, bytes: u32) -> RawConnection {
        let client = Self::new(server).transport(receive_window(bytes));
        client.dial().await
    }

    /// Makes a client of `server`.
    pub fn new(server: &TestServer) -> Self {
        Self::to(server.address, server.certificate.der())
    }

    /// Makes a client of the server with this address and certificate.
    ///
    /// # Panics
    /// When that is no certificate.
    pub fn to(address: SocketAddr, certificate: &[u8]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let added = roots.add(certificate.to_vec().into());
        added.expect("a certificate");
        let tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Self {
            address,
            tls,
            transport: Arc::default(),
            local: Ipv4Addr::LOCALHOST.into(),
        };
        client.protocol(PROTOCOL)
    }

    /// Asks for another protocol.
    pub fn protocol(self, protocol: &str) -> Self {
        self.tls(|tls| tls.alpn_protocols = vec![protocol.into()])
    }

    /// Changes its TLS.
    pub fn tls(mut self, change: impl FnOnce(&mut rustls::ClientConfig)) -> Self {
        change(&mut self.tls);
        self
    }

    /// Sets its transport.
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Connects from this address of the machine.
    pub fn from(mut self, local: impl Into<IpAddr>) -> Self {
        self.local = local.into();
        self
    }

    /// Returns a socket to connect from.
    ///
    /// # Panics
    /// When the system has none.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::client((self.local, 0).into()).expect("a socket")
    }

    /// Starts to connect on `endpoint`.
    ///
    /// # Panics
    /// When the configuration is refused.
    pub fn connecting(&self, endpoint: &Endpoint) -> Connecting {
        self.connecting_to(self.address, endpoint)
    }

    /// Starts to connect to another address.
    ///
    /// # Panics
    /// When the configuration is refused.
    pub fn connecting_to(&self, address: SocketAddr, endpoint: &Endpoint) -> Connecting {
        let crypto = QuicClientConfig::try_from(self.tls.clone()).expect("ciphers for QUIC");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let connecting = endpoint.connect_with(config, address, "localhost");
        connecting.expect("a configuration")
    }

    /// Connects from a socket of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn try_dial(&self) -> Result<RawConnection, ConnectionError> {
        let connecting = self.connecting(&self.endpoint());
        Ok(RawConnection(soon(connecting).await?))
    }

    /// Connects from a socket of its own.
    ///
    /// # Panics
    /// When that fails.
    pub async fn dial(&self) -> RawConnection {
        self.try_dial().await.expect("a connection")
    }
}

/// A server on loopback.
#[derive(Debug, Clone)]
pub struct RawServer {
    /// Its socket.
    pub endpoint: Endpoint,
    certificate: Vec<u8>,
    pem: String,
    trust: Trust,
}

impl RawServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When the system has no socket for it.
    pub fn start() -> Self {
        Self::with(PROTOCOL, TransportConfig::default())
    }

    /// Starts a server with this protocol and transport.
    ///
    /// # Panics
    /// When the system has no socket for it.
    pub fn with(protocol: &str, transport: TransportConfig) -> Self {
        Self::bind(Ipv4Addr::LOCALHOST, protocol, transport)
    }

    /// Starts a server at this address of the machine.
    ///
    /// # Panics
    /// When the system has no socket for it.
    pub fn at(ip: Ipv4Addr) -> Self {
        Self::bind(ip, PROTOCOL, TransportConfig::default())
    }

    fn bind(ip: Ipv4Addr, protocol: &str, transport: TransportConfig) -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("names");
        let key = issued.signing_key.serialize_der().try_into();
        let certificate = issued.cert.der().clone();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.expect("a key"))
            .expect("a certificate and its key");
        tls.alpn_protocols = vec![protocol.into()];
        let crypto = QuicServerConfig::try_from(tls).expect("ciphers for QUIC");
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        let address = SocketAddr::from((ip, 0));
        Self {
            endpoint: Endpoint::server(config, address).expect("a socket"),
            certificate: certificate.to_vec(),
            pem: issued.cert.pem(),
            trust: Trust::pem(issued.cert.pem().as_bytes()).expect("a certificate"),
        }
    }

    /// Returns its address.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("its address")
    }

    /// Returns its certificate, as DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Returns its certificate, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Returns a `Trust` for its certificate.
    pub fn trust(&self) -> Trust {
        self.trust.clone()
    }

    /// Returns a builder of clients that trust it.
    pub fn client(&self) -> ClientBuilder {
        let builder = Client::builder().trust(self.trust.clone());
        builder.server_name("localhost")
    }

    /// Accepts the next connection.
    ///
    /// # Panics
    /// When none comes.
    pub async fn accept(&self) -> RawConnection {
        let accepted = soon(async { self.endpoint.accept().await.expect("an endpoint").await });
        RawConnection(accepted.await.expect("a connection"))
    }

    /// Connects a client of `builder`, and returns both ends of the connection.
    ///
    /// # Panics
    /// When that fails.
    pub async fn meet(&self, builder: ClientBuilder) -> (Client, RawConnection) {
        let connecting = soon(builder.connect(self.address()));
        let (client, connection) = tokio::join!(connecting, self.accept());
        (client.expect("a connection"), connection)
    }
}

/// A connection, with the methods of quinn and those of tests.
#[derive(Debug, Clone)]
pub struct RawConnection(pub Connection);

impl Deref for RawConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl RawConnection {
    /// Opens a bidirectional stream. The peer learns of it with its first byte.
    ///
    /// # Panics
    /// When the peer grants none.
    pub async fn open(&self) -> RawStream {
        RawStream::new(soon(self.open_bi()).await.expect("a stream"))
    }

    /// Opens a bidirectional stream and sends `bytes`.
    ///
    /// # Panics
    /// When that fails.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> RawStream {
        let mut stream = self.open().await;
        stream.write(bytes).await;
        stream
    }

    /// Sends `bytes` on a unidirectional stream, and ends it.
    ///
    /// # Panics
    /// When that fails.
    pub async fn send_uni(&self, bytes: impl AsRef<[u8]>) -> SendStream {
        let mut send = soon(self.open_uni()).await.expect("a stream");
        let written = soon(send.write_all(bytes.as_ref())).await;
        written.expect("a stream that is read");
        send.finish().expect("an open stream");
        send
    }

    /// Accepts the next bidirectional stream.
    ///
    /// # Panics
    /// When none comes.
    pub async fn accept(&self) -> RawStream {
        RawStream::new(soon(self.accept_bi()).await.expect("a stream"))
    }

    /// Accepts the next bidirectional stream, and reads a call from it.
    ///
    /// # Panics
    /// When none comes.
    pub async fn accept_call(&self) -> (RawStream, Value) {
        let mut stream = self.accept().await;
        let call = stream.reply().await;
        (stream, call)
    }

    /// Sends `bytes` on a stream, ends it, and returns all lines that come back.
    ///
    /// # Panics
    /// When the stream fails, or ends within a line.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<Value> {
        self.exchange_in_pieces([bytes.as_ref()]).await
    }

    /// Sends `pieces` on a stream one by one, ends it, and returns all lines that come back.
    ///
    /// # Panics
    /// When the stream fails, or ends within a line.
    pub async fn exchange_in_pieces(&self, pieces: impl IntoIterator<Item = &[u8]>) -> Vec<Value> {
        let RawStream {
            mut send, mut recv, ..
        } = self.open().await;
        let write = async {
            for piece in pieces {
                send.write_all(piece).await.expect("a stream that is read");
                tokio::task::yield_now().await;
            }
            send.finish().expect("an open stream");
        };
        let (read, ()) = soon(async { tokio::join!(recv.read_to_end(usize::MAX), write) }).await;
        let replies = read.expect("an end");
        assert!(
            replies.is_empty() || replies.ends_with(b"\n"),
            "half a line"
        );
        replies
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect()
    }

    /// Waits until the peer has processed all messages that it received before, as far as it can.
    ///
    /// # Panics
    /// When the peer does not answer.
    pub async fn wait_until_processed(&self) {
        let ping = line(call(1, "rpc.ping", Vec::<Value>::new()));
        for _ in 0..20 {
            assert_eq!(self.exchange(&ping).await, [result(1, Value::Null)]);
        }
    }

    /// Waits until the peer has closed the connection with `code`.
    ///
    /// # Panics
    /// When it ends in another way.
    pub async fn was_closed(&self, code: VarInt) {
        match soon(self.closed()).await {
            ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, code),
            other => panic!("{other}"),
        }
    }
}

/// A bidirectional stream, read line by line.
#[derive(Debug)]
pub struct RawStream {
    /// The half that this peer sends on.
    pub send: SendStream,
    /// The half that this peer receives on.
    pub recv: RecvStream,
    received: Vec<u8>,
    written: u64,
}

impl RawStream {
    fn new((send, recv): (SendStream, RecvStream)) -> Self {
        Self {
            send,
            recv,
            received: Vec::new(),
            written: 0,
        }
    }

    /// Sends `bytes`.
    ///
    /// # Panics
    /// When the peer does not take them.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let written = soon(self.send.write_all(bytes)).await;
        written.expect("a stream that is read");
        self.written += bytes.len() as u64;
    }

    /// Returns the ID of the stream (RFC 9000, section 2.1).
    pub fn id(&self) -> u64 {
        VarInt::from(self.send.id()).into_inner()
    }

    /// Returns the offset in the stream of the next byte that [`write`](Self::write) sends.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Sends a message as a line.
    ///
    /// # Panics
    /// When the peer does not take it.
    pub async fn write_line(&mut self, message: impl Into<Value>) {
        self.write(line(message)).await;
    }

    /// Ends the sending half.
    ///
    /// # Panics
    /// When it has ended.
    pub fn finish(&mut self) {
        self.send.finish().expect("an open stream");
    }

    /// Resets the sending half.
    ///
    /// # Panics
    /// When it has ended.
    pub fn reset(&mut self, code: VarInt) {
        self.send.reset(code).expect("an open stream");
    }

    /// Stops the receiving half.
    ///
    /// # Panics
    /// When it has ended.
    pub fn stop(&mut self, code: VarInt) {
        self.recv.stop(code).expect("an open stream");
    }

    /// Reads a byte, so that a message has arrived at least in part.
    ///
    /// # Panics
    /// When none comes.
    pub async fn read_byte(&mut self) -> u8 {
        if !self.received.is_empty() {
            return self.received.remove(0);
        }
        let mut byte = [0];
        let read = soon(self.recv.read_exact(&mut byte)).await;
        read.expect("a byte");
        byte[0]
    }

    /// Reads the next line; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the peer has reset the stream, or the connection is lost.
    ///
    /// # Panics
    /// When the stream ends within a line.
    pub async fn read_line(&mut self) -> Result<Option<Value>, ReadError> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.received.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).expect("JSON")));
            }
            match soon(self.recv.read_chunk(usize::MAX, true)).await? {
                Some(chunk) => self.received.extend_from_slice(&chunk.bytes),
                None => {
                    assert_eq!(self.received, b"", "half a line");
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the next line.
    ///
    /// # Panics
    /// When there is none.
    pub async fn reply(&mut self) -> Value {
        let line = self.read_line().await.expect("a line");
        line.expect("a line before the end")
    }

    /// Waits until the peer has ended its half.
    ///
    /// # Panics
    /// When anything else comes.
    pub async fn has_ended(&mut self) {
        assert_eq!(self.read_line().await, Ok(None));
    }

    /// Waits until the peer has reset its half with `code`.
    ///
    /// # Panics
    /// When anything else comes.
    pub async fn was_reset(&mut self, code: VarInt) {
        assert_eq!(self.received, b"");
        assert_eq!(self.read_line().await, Err(ReadError::Reset(code)));
    }

    /// Reads nothing, and waits until the peer has reset its half; returns the code.
    ///
    /// # Panics
    /// When it ends in another way.
    pub async fn reset_code(&mut self) -> Option<VarInt> {
        let reset = soon(self.recv.received_reset()).await;
        reset.expect("a connection")
    }

    /// Waits until the peer has stopped the sending half or received all of it; returns the code of the stop.
    ///
    /// # Panics
    /// When the connection is lost.
    pub async fn stop_code(&mut self) -> Option<VarInt> {
        soon(self.send.stopped()).await.expect("a connection")
    }
}
