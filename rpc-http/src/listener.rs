//! `HttpServer`: a TCP listener that answers HTTP requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rpc_runtime::gateway::{ConnectionTicket, GatewayPeer, ServiceSet};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tower_service::Service;

use crate::service::{HttpConnection, HttpService};

/// The pause after an error of the listener that does not end by itself, such as a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Builds an [`HttpListener`].
#[derive(Debug)]
pub struct HttpServer {
    service: HttpService,
}

impl HttpServer {
    /// Creates a server of these services: those of [`Server::services`](rpc_runtime::Server::services), for example.
    pub fn new(services: impl Into<ServiceSet>) -> Self {
        Self {
            service: HttpService::new(services),
        }
    }

    /// Opens the socket. The server accepts no connections before [`HttpListener::run`].
    ///
    /// # Errors
    /// Returns an error if the address cannot be resolved or bound.
    pub async fn bind(self, address: impl ToSocketAddrs) -> std::io::Result<HttpListener> {
        Ok(HttpListener {
            listener: TcpListener::bind(address).await?,
            service: self.service,
        })
    }
}

/// A TCP listener that answers HTTP requests. [`HttpServer::bind`] creates it.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    service: HttpService,
}

impl HttpListener {
    /// Returns the address that the server listens on. It tells the port if the server was bound to port 0.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address of the socket.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until the server of the services is shut down.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener. Open connections are served until the shutdown.
    pub async fn run(self) {
        let Self { listener, service } = self;
        let handle = service.services().handle();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = handle.draining() => return,
            };
            match accepted {
                Ok((stream, peer)) => match service.services().admit(peer) {
                    Ok(ticket) => {
                        tokio::spawn(serve(stream, peer, ticket, service.clone()));
                    }
                    Err(_) => drop(stream),
                },
                Err(error) => {
                    tracing::warn!(target: "rpc_http", %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves a connection until it is closed, or the server is shut down and its requests are answered.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    mut ticket: ConnectionTicket,
    service: HttpService,
) {
    ticket.handshake_done();
    // Answers are written at once; the kernel must not wait for more.
    let _ = stream.set_nodelay(true);
    let services = service.services();
    let handle = services.handle();
    let connection = Arc::new(services.connect(GatewayPeer::default().address(peer)));
    let answer = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        let connection = HttpConnection(Arc::clone(&connection));
        request.extensions_mut().insert(connection);
        service.clone().call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = handle.draining() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "rpc_http", %peer, %error, "connection ended");
    }
    drop(ticket);
}
