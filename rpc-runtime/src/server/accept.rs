//! Accepts connections and their streams. Each stream gets a worker, until the connection is lost or drained.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::client::callback::{Callback, IntoServePeer, ServePeer};
use crate::codec::escape::Escaped;
use crate::context::{ConnectionContext, Extensions, PeerAddress};
use crate::description::discover::DiscoverOptions;
use crate::event::{CloseReason, EventHook, HandshakeFailure};
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::server::connection::{ServerConnection, ServerShared, SharedSettings};
use crate::server::health::HealthStates;
use crate::server::limits::connections::{ConnectionLimits, ConnectionSlotGuard, Rejection};
use crate::server::observe::OpenReport;
use crate::server::recv::Receiver;
use crate::server::shutdown::{CLOSE_TIMEOUT, Phase, ServerHandle};
use crate::server::worker;
use crate::service::router::Router;
use crate::transport::quic::{IncomingConnection, Listener};
use crate::transport::{self, ConnectionError, Datagrams, RecvStream, close};

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
    handle: ServerHandle,
    limits: Arc<ConnectionLimits>,
    services: Arc<dyn ServePeer>,
}

impl Server {
    pub(super) fn new<R: Router>(
        listener: Listener,
        handle: ServerHandle,
        limits: Limits,
        shared: ServerShared<R>,
    ) -> Self {
        let events = shared.limit_reports().events().clone();
        Self {
            listener,
            handle,
            limits: ConnectionLimits::new(limits, events),
            services: Arc::new(Acceptor(Arc::new(shared))),
        }
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
        self.handle.clone()
    }

    /// Serves clients until `signal` completes, and then shuts the server down as
    /// [`ServerHandle::shutdown`] does: running calls have `limit` to finish.
    ///
    /// Returns `true` if every call finished, and when the address is free. The output of `signal` is ignored. A shutdown
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
    pub async fn serve_with_shutdown(self, signal: impl Future, limit: Duration) -> bool {
        let handle = self.handle();
        let mut running = pin!(self.run());
        tokio::select! {
            () = &mut running => return handle.shutdown(limit).await,
            _ = signal => {}
        }
        tokio::join!(handle.shutdown(limit), running).0
    }

    /// Serves clients until the server is shut down with its [`handle`](Self::handle).
    /// [`serve_with_shutdown`](Self::serve_with_shutdown) does both.
    ///
    /// # Cancel safety
    /// Dropping the future, or the server, closes every connection at once.
    pub async fn run(self) {
        let Self {
            listener,
            handle,
            limits,
            services,
        } = self;
        // Dropped last, so that the socket is closed when a shutdown returns.
        let _running = handle.running();
        let listener = CloseOnDrop(listener);
        let mut phase = handle.phase();
        loop {
            let incoming = tokio::select! {
                incoming = listener.0.accept() => incoming,
                _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
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

struct Acceptor<R>(Arc<ServerShared<R>>);

impl<R: Router> ServePeer for Acceptor<R> {
    fn serve(
        &self,
        connection: transport::Connection,
        callback: Option<Callback>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(serve(Arc::clone(&self.0), connection, callback))
    }
}

/// Serves connections that are never drained: the connections of a client, and connections in memory.
impl<R: Router> IntoServePeer for R {
    fn into_serve_peer(
        self,
        limits: Limits,
        discover: DiscoverOptions,
        events: EventHook,
    ) -> Arc<dyn ServePeer> {
        let (_, never) = watch::channel(Phase::Serving);
        let memory = ServerMemory::new(&limits);
        let settings = SharedSettings {
            limits,
            memory,
            discover,
            phase: never,
            events,
            health: HealthStates::new(&R::descriptions()),
        };
        let shared = ServerShared::new(self, settings);
        Arc::new(Acceptor(Arc::new(shared)))
    }
}

/// Serves one connection. `callback` calls the peer, if this side opened the connection.
pub(super) async fn serve<R: Router>(
    shared: Arc<ServerShared<R>>,
    transport: transport::Connection,
    callback: Option<Callback>,
) {
    let transport = Arc::new(transport);
    let accepted = callback.is_none().then(|| transport.remote_address());
    let mut report = OpenReport::new(shared.limit_reports().events(), accepted.flatten());
    // Both halves of a connection share one memory budget.
    let memory = callback.as_ref().and_then(Callback::memory);
    let memory = memory.unwrap_or_else(|| shared.memory(transport.remote_address()));
    let callback = Arc::new(callback.unwrap_or_else(|| {
        Callback::on_accepted(Arc::downgrade(&transport), Arc::downgrade(&memory))
    }));
    let context = Arc::new(ConnectionContext {
        peer: PeerAddress::of(&transport),
        certificate: transport.peer_certificate(),
        callback: Arc::clone(&callback) as _,
        extensions: Extensions::default(),
    });
    let connection = ServerConnection::new(
        Arc::clone(&shared),
        memory,
        Arc::clone(&context),
        Arc::downgrade(&transport),
        worker::start,
    );
    let peer = || context.peer.current();
    let reason = tokio::select! {
        lost = accept_streams(&connection, &transport) => {
            tracing::debug!(target: "rpc_runtime::server", peer = ?peer(), lost = %Escaped(&lost), "connection ended");
            close_reason(&lost)
        }
        () = connection.abuse().exceeded() => {
            tracing::warn!(target: "rpc_runtime::server", peer = ?peer(), "connection closed for excessive load");
            transport.close(close::EXCESSIVE_LOAD, "excessive load");
            CloseReason::ExcessiveLoad
        }
        () = connection.release_buffers() => CloseReason::Lost,
        () = drain(&connection, &transport, &callback) => {
            tracing::debug!(target: "rpc_runtime::server", peer = ?peer(), "connection drained");
            CloseReason::Shutdown
        }
    };
    if let Some(report) = &mut report {
        report.reason = reason;
    }
    connection.abort();
    context.peer.keep();
    drop(transport);
    callback.ended().await;
}

fn close_reason(lost: &ConnectionError) -> CloseReason {
    match lost {
        ConnectionError::ClosedByPeer { .. } => CloseReason::ClosedByPeer,
        ConnectionError::ClosedHere => CloseReason::Shutdown,
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        _ => CloseReason::Lost,
    }
}

async fn accept_streams<R: Router>(
    connection: &Arc<ServerConnection<R>>,
    transport: &transport::Connection,
) -> ConnectionError {
    // Datagrams are read as a stream, which is opened only for a peer that sends datagrams.
    let mut sends_datagrams = false;
    loop {
        let accepted = tokio::select! {
            accepted = transport.accept_bi() => accepted.map(|(send, recv)| (Some(send), recv)),
            accepted = transport.accept_uni() => accepted.map(|recv| (None, recv)),
            first = transport.read_datagram(), if !sends_datagrams => first.map(|first| {
                sends_datagrams = true;
                let datagrams = Datagrams::new(transport.clone(), first);
                (None, RecvStream::Datagrams(datagrams))
            }),
        };
        let (send, recv) = match accepted {
            Ok(stream) => stream,
            Err(lost) => return lost,
        };
        let receiver = Receiver::new(recv, connection.limits().max_request_bytes);
        connection.open(send, Box::new(receiver));
    }
}

async fn drain<R: Router>(
    connection: &ServerConnection<R>,
    transport: &transport::Connection,
    callback: &Callback,
) {
    connection.reaches(Phase::Draining).await;
    // Boxed, since only a drain needs the space.
    let drained = Box::pin(async {
        let mut drain = pin!(connection.drain());
        tokio::select! {
            drained = &mut drain => return drained,
            () = connection.reaches(Phase::Ending) => {}
        }
        let has_streams = connection.end_streaming();
        has_streams && timeout(CLOSE_TIMEOUT, drain).await.unwrap_or(false)
    });
    let code = match drained.await {
        true => close::SHUTDOWN,
        false => close::ABORTED,
    };
    callback.close().await;
    transport.close(code, "shutting down");
}
