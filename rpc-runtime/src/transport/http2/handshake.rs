//! Opens an HTTP/2 connection, and checks that the server answers JSON-RPC at the path.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::SendRequest;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::uri::Scheme;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::transport::error::{ConnectionError, StreamLost};
use crate::transport::handshake::HandshakeError;
use crate::transport::http2::connection::Connection;
use crate::transport::http2::driver::StreamCarrier;
use crate::transport::http2::heads::{RequestHeads, Target};
use crate::transport::http2::lost::{connection_lost, stream_lost};
use crate::transport::memory;
use crate::transport::settings::TransportSettings;

/// The protocol that TLS negotiates.
const ALPN: &[u8] = b"h2";

/// The TLS alert of a server that speaks other versions of TLS (RFC 8446, section 6.2).
const PROTOCOL_VERSION: u8 = 70;

/// The number of streams that the caller may leave unread without blocking the other streams.
const UNREAD_STREAMS: u32 = 128;

/// The largest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The maximum number of bytes of a stream that wait to be sent.
const SEND_BUFFER: usize = 256 << 10;

/// The maximum number of bytes of the answer to the first request that are read.
const MAX_ANSWER: usize = 4 << 10;

/// The first request.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"rpc.ping"}"#;

/// A connection to make.
pub(crate) struct Dial<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) target: Target<'a>,
    /// The name of the server and the configuration, with TLS.
    pub(crate) tls: Option<(&'a str, rustls::ClientConfig)>,
    pub(crate) settings: &'a TransportSettings,
}

impl Dial<'_> {
    /// Connects, and starts the task that carries the streams.
    pub(crate) async fn connect(self) -> Result<Connection, HandshakeError> {
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(HandshakeError::Socket)?;
        match self.tls {
            None => start(stream, &self, Scheme::HTTP).await,
            Some((name, ref config)) => {
                let stream = handshake(stream, name, config.clone()).await?;
                start(stream, &self, Scheme::HTTPS).await
            }
        }
    }
}

async fn handshake(
    stream: TcpStream,
    name: &str,
    mut config: rustls::ClientConfig,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, HandshakeError> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::Name)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let alert = alert_of(&error);
        let known = alert.and_then(|alert| HandshakeError::of_alert(alert, true));
        known.unwrap_or_else(|| match alert {
            Some(PROTOCOL_VERSION) => lost(io::Error::other("the server does not speak TLS 1.3")),
            _ => lost(error),
        })
    })?;
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN) => Ok(stream),
        _ => Err(HandshakeError::Alpn),
    }
}

fn lost(error: io::Error) -> HandshakeError {
    HandshakeError::Lost(ConnectionError::Transport(error.to_string()))
}

/// Returns the TLS alert that the server has sent.
fn alert_of(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some((*alert).into()),
        _ => None,
    }
}

async fn start<S>(stream: S, dial: &Dial<'_>, scheme: Scheme) -> Result<Connection, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heads = RequestHeads::new(scheme, dial.target).map_err(HandshakeError::Socket)?;
    let alert = Arc::new(AtomicU16::new(0));
    let watched = AlertWatch {
        stream,
        alert: Arc::clone(&alert),
    };
    let refused = |lost: ConnectionError| {
        let alert = u8::try_from(alert.load(Ordering::Relaxed)).ok();
        let refusal = alert.filter(|alert| *alert > 0);
        let refusal = refusal.and_then(|alert| HandshakeError::of_alert(alert, true));
        refusal.unwrap_or(HandshakeError::Lost(lost))
    };
    let (requests, mut connection) = settings(dial.settings)
        .handshake(watched)
        .await
        .map_err(|error| refused(connection_lost(&error)))?;
    tokio::select! {
        biased;
        checked = check(requests.clone(), &heads) => match checked {
            Ok(()) => {}
            Err(CheckFailure::Handshake(error)) => return Err(error),
            Err(CheckFailure::Lost(lost)) => return Err(refused(lost)),
        },
        ended = &mut connection => return Err(match ended {
            Ok(()) => refused(ConnectionError::Transport("HTTP/2: the server closed the connection".into())),
            Err(error) if is_other_protocol(&error) => HandshakeError::Alpn,
            Err(error) => refused(connection_lost(&error)),
        }),
    }
    let (streams, carried) = memory::pair();
    let driver = StreamCarrier::new(carried, requests, heads, dial.settings);
    tokio::spawn(driver.run(connection));
    Ok(Connection::new(streams, dial.address))
}

/// Returns `true` for the error with a server that does not answer in HTTP/2.
fn is_other_protocol(error: &h2::Error) -> bool {
    let reasons = [h2::Reason::PROTOCOL_ERROR, h2::Reason::FRAME_SIZE_ERROR];
    error.is_library()
        && error
            .reason()
            .is_some_and(|reason| reasons.contains(&reason))
}

/// Returns the settings of HTTP/2.
fn settings(settings: &TransportSettings) -> h2::client::Builder {
    let (stream, connection) = (settings.stream_receive_window, settings.receive_window);
    let unread = stream.saturating_mul(UNREAD_STREAMS);
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(stream.min(MAX_WINDOW))
        .initial_connection_window_size(connection.saturating_add(unread).min(MAX_WINDOW))
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(16 << 10)
        .enable_push(false);
    builder
}

enum CheckFailure {
    Handshake(HandshakeError),
    Lost(ConnectionError),
}

impl From<h2::Error> for CheckFailure {
    fn from(error: h2::Error) -> Self {
        Self::Lost(match stream_lost(&error) {
            StreamLost::Connection(lost) => lost,
            StreamLost::Reset(_) | StreamLost::Stopped(_) => connection_lost(&error),
        })
    }
}

/// Makes a call of `rpc.ping`, which shows that the server answers JSON-RPC at the path, and has accepted the certificate of the
/// client.
async fn check(requests: SendRequest<Bytes>, heads: &RequestHeads) -> Result<(), CheckFailure> {
    let mut requests = requests.ready().await?;
    let (response, mut send) = requests.send_request(heads.message(), false)?;
    send.send_data(Bytes::from_static(PING), true)?;
    let response = response.await?;
    if response.status() != StatusCode::OK {
        let status = response.status().as_u16();
        return Err(CheckFailure::Handshake(HandshakeError::Status(status)));
    }
    let is_json = response.headers().get(CONTENT_TYPE);
    let is_json = is_json.is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(chunk) = poll_fn(|cx| body.poll_data(cx)).await {
        let length = chunk?.len();
        received += length;
        let _ = body.flow_control().release_capacity(length);
        if received > MAX_ANSWER {
            break;
        }
    }
    match is_json {
        true => Ok(()),
        false => Err(CheckFailure::Handshake(HandshakeError::Status(200))),
    }
}

/// Records the TLS alert that the server sends after the handshake, since the errors of HTTP/2 do not contain it.
#[derive(Debug)]
struct AlertWatch<S> {
    stream: S,
    /// Zero if there was none.
    alert: Arc<AtomicU16>,
}

impl<S: AsyncRead + Unpin> AsyncRead for AlertWatch<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Err(error)) = &read
            && let Some(alert) = alert_of(error)
        {
            self.alert.store(alert.into(), Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AlertWatch<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
