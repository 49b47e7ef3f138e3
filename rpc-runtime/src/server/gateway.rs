//! `ServiceSet`: the services of a server, for connections that other transports carry.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::call_defaults::CallDefaults;
use crate::client::callback::ServePeer;
use crate::codec::error_code::{ProtocolError, Setting};
use crate::description::ServiceDescription;
use crate::event::HandshakeFailure;
use crate::limits::Limits;
use crate::memory::MemoryCharge;
use crate::server::buffers::SMALL_MESSAGE_BYTES;
use crate::server::connection::ServerConnection;
use crate::server::direct::DirectCall;
use crate::server::handle::ServerHandle;
use crate::server::limits::connections::{ConnectionLimits, ConnectionSlotGuard};
use crate::server::serve::{Acceptor, OpenConnection};
use crate::service::router::Router;
use crate::sync::{Mutex, lock};
use crate::tls::{Certificate, TlsOverTcp, handshake_failure};
use crate::transport::gateway::{GatewayRecv, GatewaySend};
use crate::transport::memory::{self, PeerDetails};
use crate::transport::{self, ConnectionError, close};

/// Maximum number of idle [`DirectCall`]s that a connection keeps.
const SPARE_CALLS: usize = 4;

/// The services of a server, for connections that arrive over another transport, such as HTTP. Clones are cheap.
///
/// All connections share the limits, the middleware and the shutdown of the server, whatever carries them.
/// [`Server::services`](crate::Server::services) returns the services of a server with QUIC, and
/// [`ServerBuilder::build`](crate::ServerBuilder::build) those of one without.
///
/// ```
/// use rpc_runtime::gateway::{GatewayPeer, ServiceSet};
/// use rpc_runtime::{Server, rpc};
///
/// #[rpc]
/// trait Calculator {
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
///
/// struct Desk;
/// impl Calculator for Desk {
///     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let services = ServiceSet::builder().service(CalculatorServer::new(Desk)).build()?;
/// let connection = services.connect(GatewayPeer::default());
/// let mut call = connection.call(None);
/// call.push(br#"{"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":2}}"#);
/// assert_eq!(call.answer().await, br#"{"jsonrpc":"2.0","id":1,"result":3}"#[..]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceSet {
    services: Arc<dyn ServeGateway>,
    connections: Arc<ConnectionLimits>,
    handle: ServerHandle,
    limits: Arc<Limits>,
    /// The names of the methods with items.
    with_items: Arc<HashSet<&'static str>>,
    descriptions: Arc<[&'static ServiceDescription]>,
}

impl ServiceSet {
    pub(super) fn new<R: Router>(
        services: Acceptor<R>,
        handle: ServerHandle,
        limits: Limits,
    ) -> Self {
        let events = services.0.limit_reports().events().clone();
        Self {
            connections: ConnectionLimits::new(limits.clone(), events),
            services: Arc::new(services),
            handle,
            limits: Arc::new(limits),
            with_items: Arc::new(with_items::<R>()),
            descriptions: R::descriptions().into(),
        }
    }

    /// Returns a handle that shuts the server down.
    pub fn handle(&self) -> ServerHandle {
        self.handle.clone()
    }

    /// Returns the limits of the server.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns `true` if calls of a method have items, which the client or the server sends besides the parameters and the
    /// result. Returns `false` if there is no such method.
    pub fn has_items(&self, method: &str) -> bool {
        self.with_items.contains(method)
    }

    /// Returns the descriptions of the services.
    pub fn descriptions(&self) -> &[&'static ServiceDescription] {
        &self.descriptions
    }

    /// Returns the TLS settings for connections over TCP, or `None` if the server was built without an identity.
    pub fn tls(&self) -> Option<TlsOverTcp> {
        self.handle.over_tcp().cloned()
    }

    pub(super) fn connection_limits(&self) -> &Arc<ConnectionLimits> {
        &self.connections
    }

    pub(super) fn serve_peer(&self) -> Arc<dyn ServePeer> {
        Arc::clone(&self.services) as _
    }

    /// Counts a connection of `peer` and its handshake, if the limits admit it.
    ///
    /// # Errors
    /// Returns an error if the server is shutting down or a limit of connections is reached.
    pub fn admit(&self, peer: SocketAddr) -> Result<ConnectionTicket, ConnectionRefused> {
        if self.handle.is_draining() {
            return Err(ConnectionRefused::ShuttingDown);
        }
        match self.connections.admit(peer.ip(), true) {
            Ok(slot) => Ok(ConnectionTicket {
                slot,
                peer,
                _running: self.handle.connections().token(),
            }),
            Err(rejection) => {
                self.connections.record_rejection(peer, rejection);
                Err(ConnectionRefused::Limit)
            }
        }
    }

    /// Opens a connection to the services. It does not count towards the limits of connections; [`admit`](Self::admit) counts one.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn connect(&self, peer: GatewayPeer) -> GatewayConnection {
        let (here, there) = memory::pair_of(peer.0);
        let (calls, serving) = self.services.open(transport::Connection::Memory(there));
        self.handle.connections().spawn(serving);
        GatewayConnection {
            transport: here,
            calls,
        }
    }
}

impl fmt::Debug for ServiceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceSet")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

fn with_items<R: Router>() -> HashSet<&'static str> {
    let services = R::descriptions();
    let methods = services.iter().flat_map(|service| service.methods);
    let with_items = methods.filter(|method| method.stream || method.upload.is_some());
    with_items
        .flat_map(|method| {
            [method.name]
                .into_iter()
                .chain(method.aliases.iter().copied())
        })
        .collect()
}

/// The reason why [`ServiceSet::admit`] refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectionRefused {
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A limit of connections is reached. The log and an [`Event`](crate::event::Event) tell which.
    #[error("a limit of connections is reached")]
    Limit,
}

/// The place of one connection within the limits of the server, until it is dropped. A shutdown waits until it is dropped.
pub struct ConnectionTicket {
    slot: ConnectionSlotGuard,
    peer: SocketAddr,
    _running: TaskTrackerToken,
}

impl ConnectionTicket {
    /// Returns the time within which the handshake must be complete: [`Limits::handshake_timeout`].
    pub fn handshake_timeout(&self) -> Duration {
        self.slot.handshake_timeout()
    }

    /// Records that the handshake is complete, so that it no longer counts towards [`Limits::max_handshakes`].
    pub fn handshake_done(&mut self) {
        self.slot.handshake_done();
    }

    /// Records that the handshake of TLS failed.
    pub fn record_failed_handshake(&self, error: &io::Error) {
        let kind = handshake_failure(error);
        self.slot.record_failed_handshake(self.peer, kind, error);
    }

    /// Records that the handshake took longer than [`handshake_timeout`](Self::handshake_timeout).
    pub fn record_timed_out_handshake(&self) {
        let kind = HandshakeFailure::TimedOut;
        let reason = "timed out (`Limits::handshake_timeout`)";
        self.slot.record_failed_handshake(self.peer, kind, &reason);
    }

    /// Records that the handshake has ended to make room for another one.
    pub fn record_evicted(&self) {
        self.slot.record_evicted(self.peer);
    }

    /// Resolves when the handshake must end, since it has to make room for another one.
    pub async fn evicted(&self) {
        self.slot.evicted().await;
    }
}

impl fmt::Debug for ConnectionTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionTicket")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Describes the client at the other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct GatewayPeer(PeerDetails);

impl GatewayPeer {
    /// Sets the client's address, which [`Context::peer`](crate::Context::peer) returns. The limits of one address apply to it.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.0.address = Some(address);
        self
    }

    /// Sets the certificate whose key the client has proved to own, in DER. The transport must have verified it.
    pub fn certificate(mut self, der: &[u8]) -> Self {
        self.0.certificate = Some(Certificate::from_der(der));
        self
    }

    /// Returns the client's address, if it is known.
    pub fn known_address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Returns the certificate whose key the client has proved to own, if it has presented one.
    pub fn known_certificate(&self) -> Option<&Certificate> {
        self.0.certificate.as_ref()
    }
}

/// A connection to the services. Dropping it cancels its calls.
pub struct GatewayConnection {
    transport: memory::Connection,
    calls: Arc<dyn OpenCalls>,
}

impl GatewayConnection {
    /// Begins a message that is answered without a stream. `defaults` apply to its calls.
    ///
    /// A method with items is answered with an error: it needs a [stream](Self::open_stream).
    pub fn call(&self, defaults: Option<Arc<CallDefaults>>) -> GatewayCall {
        GatewayCall(Arc::clone(&self.calls).begin(defaults))
    }

    /// Rejects a call that needs a stream, for a client that has as many streams as it may have calls
    /// ([`Limits::max_concurrent_calls_per_connection`]). Returns the reply, and reports the rejection. `id` is the text of the id
    /// of the call.
    pub fn reject_excess_stream(&self, id: &str) -> Bytes {
        self.calls.reject_excess_stream(id)
    }

    /// Opens a stream of messages, with one message a line as in section 3 of `PROTOCOL.md`. `defaults` apply to all of its
    /// calls.
    ///
    /// # Errors
    /// Returns the reason if the connection has ended, as at a shutdown.
    pub fn open_stream(
        &self,
        defaults: Option<Arc<CallDefaults>>,
    ) -> Result<(GatewaySend, GatewayRecv), ConnectionError> {
        let (send, recv) = self.transport.open_bi_with(None, defaults)?;
        Ok((GatewaySend::new(send), GatewayRecv::new(recv)))
    }

    /// Opens a stream as [`open_stream`](Self::open_stream) does, with the ID that it has at the client, so that `rpc.cancel`
    /// can name it. It must not be the ID of another stream, and must be even.
    ///
    /// # Errors
    /// Returns the reason if the connection has ended.
    pub fn open_stream_as(
        &self,
        id: u64,
        defaults: Option<Arc<CallDefaults>>,
    ) -> Result<(GatewaySend, GatewayRecv), ConnectionError> {
        let (send, recv) = self.transport.open_bi_with(Some(id), defaults)?;
        Ok((GatewaySend::new(send), GatewayRecv::new(recv)))
    }

    /// Opens a stream of notifications and cancellations, which the server does not answer. The ID is as for
    /// [`open_stream_as`](Self::open_stream_as).
    ///
    /// # Errors
    /// Returns the reason if the connection has ended.
    pub fn open_uni_as(&self, id: u64) -> Result<GatewaySend, ConnectionError> {
        self.transport.open_uni_as(id).map(GatewaySend::new)
    }

    /// Accepts a stream that the server opens to call the client. A stream that carries only notifications and cancellations has
    /// no half of the client.
    ///
    /// # Errors
    /// Returns the reason once the connection has ended.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn accept_stream(
        &self,
    ) -> Result<(Option<GatewaySend>, GatewayRecv), ConnectionError> {
        tokio::select! {
            biased;
            accepted = self.transport.accept_bi() => {
                let (send, recv) = accepted?;
                Ok((Some(GatewaySend::new(send)), GatewayRecv::new(recv)))
            }
            accepted = self.transport.accept_uni() => Ok((None, GatewayRecv::new(accepted?))),
        }
    }

    /// Waits until the connection has ended, and returns the reason.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        self.transport.closed().await
    }
}

impl Drop for GatewayConnection {
    fn drop(&mut self) {
        self.transport.close(close::DONE, "");
    }
}

impl fmt::Debug for GatewayConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayConnection").finish_non_exhaustive()
    }
}

/// A message that is answered without a stream. Dropping it before its answer is a cancellation, which counts towards
/// [`Limits::max_net_cancellations`].
pub struct GatewayCall(Box<dyn AnswerCall>);

impl GatewayCall {
    /// Appends bytes of the message. A message of more than [`Limits::max_request_bytes`] is answered with an error.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// Answers the message. The reply is empty if there is none, as for a notification.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the calls of the message.
    pub async fn answer(self) -> Bytes {
        match AbortOnDropHandle::new(self.0.answer()).await {
            Ok(reply) => reply,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is shutting down.
            Err(_) => Bytes::new(),
        }
    }

    /// Discards the message, since the rest of it did not arrive within [`Limits::message_timeout`].
    pub fn time_out(self) {
        self.0.time_out();
    }
}

impl fmt::Debug for GatewayCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayCall").finish_non_exhaustive()
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Serves connections of gateways, for any set of services.
trait ServeGateway: ServePeer {
    /// Opens a connection. The future serves its streams until it is lost or drained.
    fn open(&self, connection: transport::Connection) -> (Arc<dyn OpenCalls>, BoxFuture<()>);
}

impl<R: Router> ServeGateway for Acceptor<R> {
    fn open(&self, connection: transport::Connection) -> (Arc<dyn OpenCalls>, BoxFuture<()>) {
        let open = OpenConnection::new(Arc::clone(&self.0), connection, None);
        let calls = DirectCalls {
            connection: Arc::clone(&open.connection),
            spare: Mutex::default(),
        };
        (Arc::new(calls), Box::pin(open.serve()))
    }
}

/// Begins messages, for any set of services.
trait OpenCalls: Send + Sync {
    fn begin(self: Arc<Self>, defaults: Option<Arc<CallDefaults>>) -> Box<dyn AnswerCall>;

    fn reject_excess_stream(&self, id: &str) -> Bytes;
}

/// A message that has begun, for any set of services.
trait AnswerCall: Send {
    fn push(&mut self, bytes: &[u8]);

    /// Answers the message in a task of its own. For a boxed future the compiler would prove of each type in it that it can be
    /// sent, and reach its recursion limit within many layers.
    fn answer(self: Box<Self>) -> JoinHandle<Bytes>;

    fn time_out(self: Box<Self>);
}

/// Answers the messages of one connection.
struct DirectCalls<R: Router> {
    connection: Arc<ServerConnection<R>>,
    #[expect(
        clippy::vec_box,
        reason = "a call is begun and answered in its box, which is not moved"
    )]
    spare: Mutex<Vec<Box<BegunCall<R>>>>,
}

impl<R: Router> OpenCalls for DirectCalls<R> {
    fn begin(self: Arc<Self>, defaults: Option<Arc<CallDefaults>>) -> Box<dyn AnswerCall> {
        let spare = lock(&self.spare).pop();
        let mut begun = spare.unwrap_or_else(|| {
            Box::new(BegunCall {
                pending: None,
                call: DirectCall::new(Arc::clone(&self.connection)),
            })
        });
        begun.call.begin();
        begun.call.set_defaults(defaults);
        begun.pending = Some(PendingAnswer {
            calls: self,
            is_over: false,
        });
        begun
    }

    fn reject_excess_stream(&self, id: &str) -> Bytes {
        let limit = self.connection.limits().max_concurrent_calls_per_connection;
        let limit = Setting::new("max_concurrent_calls_per_connection", limit);
        let error = ProtocolError::TooManyCalls(limit);
        self.connection.report_rejected(error);
        let mut reply = format!(r#"{{"jsonrpc":"2.0","id":{id}"#).into_bytes();
        error.write_body(&mut reply);
        reply.into()
    }
}

struct BegunCall<R: Router> {
    /// `None` while the call is spare.
    pending: Option<PendingAnswer<R>>,
    call: DirectCall<R>,
}

/// Counts a message that is dropped before its answer as wasted work, like a stream that the client resets.
struct PendingAnswer<R: Router> {
    calls: Arc<DirectCalls<R>>,
    is_over: bool,
}

impl<R: Router> Drop for PendingAnswer<R> {
    fn drop(&mut self) {
        if !self.is_over {
            self.calls.connection.abuse().record_wasted();
        }
    }
}

impl<R: Router> AnswerCall for BegunCall<R> {
    fn push(&mut self, bytes: &[u8]) {
        self.call.push(bytes);
    }

    fn answer(mut self: Box<Self>) -> JoinHandle<Bytes> {
        tokio::spawn(async move {
            let reply = self.call.answer().await;
            let reply = match reply.len() {
                ..=SMALL_MESSAGE_BYTES => Bytes::copy_from_slice(reply),
                _ => {
                    let reply = reply.to_vec();
                    let memory = self.call.connection().memory();
                    let charge = MemoryCharge::new(memory, reply.len());
                    Bytes::from_owner(CountedReply {
                        reply,
                        _charge: charge,
                    })
                }
            };
            self.call.release_permit();
            self.call.connection().idle().record_activity();
            if let Some(mut pending) = self.pending.take() {
                pending.is_over = true;
                let mut spare = lock(&pending.calls.spare);
                if spare.len() < SPARE_CALLS {
                    self.call.begin();
                    self.call.set_defaults(None);
                    spare.push(self);
                }
            }
            reply
        })
    }

    fn time_out(mut self: Box<Self>) {
        if let Some(pending) = &mut self.pending {
            pending.is_over = true;
        }
        let connection = self.call.connection();
        connection.report_read_timeout(true);
        connection.abuse().record_timed_out_message();
    }
}

/// A large reply, counted until the transport has sent it.
struct CountedReply {
    reply: Vec<u8>,
    _charge: MemoryCharge,
}

impl AsRef<[u8]> for CountedReply {
    fn as_ref(&self) -> &[u8] {
        &self.reply
    }
}
