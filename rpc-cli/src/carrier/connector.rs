//! Connects to a server over TCP, with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rpc_runtime::gateway::CarriedTls;
use rpc_runtime::{ClientBuilder, ConnectError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::advice::advise;
use crate::carrier::refused;
use crate::carrier::shared::Shared;
use crate::failure::{Failure, Status};
use crate::target::{Protocol, Target};

const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Connects to the server of a carrier.
#[derive(Debug)]
pub(super) struct Connector {
    shared: Arc<Shared>,
    tls: Option<Arc<CarriedTls>>,
}

/// The bytes of a connection.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection that was made.
pub(super) struct Socket {
    pub(super) io: TokioIo<Box<dyn Transport>>,
    is_http_2: bool,
}

impl Connector {
    pub(super) async fn new(builder: &ClientBuilder, shared: Arc<Shared>) -> Result<Self, Failure> {
        let protocols: &[&[u8]] = match shared.url.protocol {
            Protocol::Http => &[HTTP_2, HTTP_1],
            Protocol::WebSocket => &[HTTP_1],
        };
        let tls = match shared.url.is_tls {
            true => {
                let tls = builder.carried_tls(protocols).await;
                let target = Target::Url(shared.url.clone());
                Some(Arc::new(tls.map_err(|error| advise(&error, &target))?))
            }
            false => None,
        };
        Ok(Self { shared, tls })
    }

    /// Connects within the time limit.
    pub(super) async fn connect(&self) -> Result<Socket, Failure> {
        let limit: Duration = self.shared.needs.connect_timeout;
        match timeout(limit, self.dial()).await {
            Ok(connected) => connected,
            Err(_) => {
                let message = format!("{}: no server answered in time", self.shared.url);
                Err(Failure::new(Status::Timeout, message)
                    .tip("check the address, and that no firewall blocks it"))
            }
        }
    }

    /// Keeps the reason why a later connection was not made.
    pub(super) fn fail(&self, failure: Failure) {
        self.shared.fail(failure);
    }

    async fn dial(&self) -> Result<Socket, Failure> {
        let url = &self.shared.url;
        let target = || Target::Url(url.clone());
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
        let found = found.map_err(|error| advise(&ConnectError::Resolve(error), &target()))?;
        let addresses: Vec<_> = found.collect();
        let stream = TcpStream::connect(&*addresses).await;
        let stream = stream.map_err(|error| {
            let message = format!("{url}: the connection was not made: {error}");
            Failure::new(Status::Unreachable, message)
        })?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return Ok(Socket::new(stream, false));
        };
        let name = self.shared.needs.server_name.as_ref().unwrap_or(&url.host);
        let name = ServerName::try_from(name.clone())
            .map_err(|_| advise(&ConnectError::ServerName, &target()))?;
        let connector = TlsConnector::from(tls.rustls_config());
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| match tls.untrusted() {
            Some(untrusted) => advise(&untrusted, &target()),
            None => self.failed_handshake(&error),
        })?;
        let is_http_2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok(Socket::new(stream, is_http_2))
    }

    fn failed_handshake(&self, error: &io::Error) -> Failure {
        let failure = refused::lost(&self.shared, error).of("the handshake of TLS 1.3 failed");
        failure.tip("check that the server speaks TLS 1.3 at this port; `http://` and `ws://` are without TLS")
    }
}

impl Socket {
    fn new(stream: impl Transport + 'static, is_http_2: bool) -> Self {
        Self {
            io: TokioIo::new(Box::new(stream)),
            is_http_2,
        }
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        match self.is_http_2 {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
