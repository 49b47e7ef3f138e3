//! Accepts the connections of a server, within its limits.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::client::callback::ServePeer;
use crate::event::HandshakeFailure;
use crate::phase::Phase;
use crate::server::gateway::ServiceSet;
use crate::server::handle::ServerHandle;
use crate::server::limits::connections::{ConnectionSlotGuard, Rejection};
use crate::server::shutdown::Shutdown;
use crate::transport::quic::{IncomingConnection, Listener};
use crate::transport::{self, close};

/// A server on a UDP socket, with one or more services. [`Server::builder`] creates it.
///
/// ```
/// use std::time::Duration;
/// use rpc_runtime::{Identity, Server, rpc};
///
/// #[rpc]
/// trait Greeter {
///     async fn greet(&self, name: &str) -> String;
/// }
///
/// struct Hello;
/// impl Greeter for Hello {
///     async fn greet(&self, name: &str) -> String {
///         format!("Hello, {name}!")
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::self_signed(["localhost"])?;
/// let server = Server::builder(identity).service(GreeterServer::new(Hello)).bind("127.0.0.1:0")?;
/// println!("listening on {}", server.local_addr()?);
///
/// let handle = server.handle();
/// let serving = tokio::spawn(server.run());
/// handle.shutdown(Duration::from_secs(5)).await;
/// serving.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    services: ServiceSet,
}

impl Server {
    pub(super) fn new(listener: Listener, services: ServiceSet) -> Self {
        Self { listener, services }
    }

    /// Returns the services of the server, to serve them over other transports as well.
    pub fn services(&self) -> ServiceSet {
        self.services.clone()
    }

    /// Returns the address that the server listens on. It tells the port if the server was bound to port 0.
    ///
    /// # Errors
    /// Returns an error if the operating system does not return the address of the socket.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_address()
    }

    /// Returns a handle that shuts the server down, or gives it a new certificate.
    pub fn handle(&self) -> ServerHandle {
        self.services.handle()
    }

    /// Serves clients until `signal` completes, and then shuts the server down as
    /// [`ServerHandle::shutdown`] does. `shutdown` is the time that running calls have to finish, a
    /// [`Duration`](std::time::Duration), or a [`Shutdown`], which can also announce the shutdown to readiness probes before.
    ///
    /// Returns when the address is free: `true` if every call finished. The output of `signal` is ignored. A shutdown
    /// with the server's [`handle`](Self::handle) ends the server before `signal` does.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use rpc_runtime::{Identity, Server};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = Server::builder(Identity::from_pem_files("chain.pem", "key.pem")?).bind("0.0.0.0:4433")?;
    /// if !server.serve_with_shutdown(tokio::signal::ctrl_c(), Duration::from_secs(10)).await {
    ///     eprintln!("some calls were aborted");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn serve_with_shutdown(
        self,
        signal: impl Future,
        shutdown: impl Into<Shutdown>,
    ) -> bool {
        let (handle, shutdown) = (self.handle(), shutdown.into());
        let mut running = pin!(self.run());
        tokio::select! {
            () = &mut running => return handle.shutdown(shutdown).await,
            _ = signal => {}
        }
        tokio::join!(handle.shutdown(shutdown), running).0
    }

    /// Serves clients until the server is shut down with its [`handle`](Self::handle).
    /// [`serve_with_shutdown`](Self::serve_with_shutdown) does both.
    ///
    /// # Cancel safety
    /// Dropping the future, or the server, closes every connection at once.
    pub async fn run(self) {
        let Self { listener, services } = self;
        let handle = services.handle();
        let limits = Arc::clone(services.connection_limits());
        let services = services.serve_peer();
        // Dropped last, so that the socket is closed when a shutdown returns.
        let _running = handle.running();
        let listener = CloseOnDrop(listener);
        let mut draining = pin!(handle.phase().reaches(Phase::Draining));
        loop {
            let incoming = tokio::select! {
                incoming = listener.0.accept() => incoming,
                () = &mut draining => break,
            };
            let Some(incoming) = incoming else { break };
            let address = incoming.remote_address();
            match limits.admit(address.ip(), incoming.is_validated()) {
                Ok(slot) => {
                    let tasks = handle.connections().clone();
                    let serving = serve_incoming(incoming, slot, Arc::clone(&services), tasks);
                    handle.connections().spawn(serving);
                }
                Err(reason) => {
                    limits.record_rejection(address, reason);
                    match reason {
                        Rejection::Unvalidated => incoming.send_retry(),
                        Rejection::Full(_) => incoming.refuse(),
                        Rejection::Busy => incoming.ignore(),
                    }
                }
            }
        }
        // Refuses further clients at once, so that they need not wait for a timeout.
        while let Some(incoming) = listener.0.accept().await {
            incoming.refuse();
        }
    }
}

/// Completes the handshake, and serves the connection in a task of its own, so that a connection does not keep the memory of
/// its handshake. The handshake ends if it times out or must make room for another handshake.
async fn serve_incoming(
    incoming: IncomingConnection,
    mut slot: ConnectionSlotGuard,
    services: Arc<dyn ServePeer>,
    tasks: TaskTracker,
) {
    let address = incoming.remote_address();
    let handshake = timeout(slot.handshake_timeout(), incoming.handshake());
    let handshake = tokio::select! {
        biased;
        handshake = handshake => handshake,
        () = slot.evicted() => return slot.record_evicted(address),
    };
    match handshake {
        Ok(Ok(connection)) => {
            slot.handshake_done();
            let connection = transport::Connection::Quic(connection);
            let serving = services.serve(connection, None);
            tasks.spawn(async move {
                let _slot = slot;
                serving.await;
            });
        }
        Ok(Err(failed)) => slot.record_failed_handshake(address, failed.kind, &failed.reason),
        Err(_) => {
            let reason = "timed out (`Limits::handshake_timeout`)";
            slot.record_failed_handshake(address, HandshakeFailure::TimedOut, &reason);
        }
    }
}

struct CloseOnDrop(Listener);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close(close::ABORTED, "shutting down");
    }
}
