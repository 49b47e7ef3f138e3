//! Answers messages that came some other way.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::codec::lines::Line;
use crate::context::ConnectionContext;
use crate::description::discover::DiscoverOptions;
use crate::limits::Limits;
use crate::server::buffers::WorkerBuffers;
use crate::server::connection::{Permit, ServerConnection, ServerShared};
use crate::server::request::serve;
use crate::server::shutdown::Phase;
use crate::server::stream::ServerStream;
use crate::service::Service;

/// Answers messages one at a time, without a transport: to serve over one of your own (standard input, a web socket),
/// to test a service on raw JSON, or to measure it.
///
/// ```
/// use rpc_runtime::{Responder, rpc};
///
/// #[rpc]
/// trait Calculator {
///     async fn add(&self, a: i64, b: i64) -> i64;
/// }
///
/// struct EntryBuffers;
/// impl Calculator for EntryBuffers {
///     async fn add(&self, a: i64, b: i64) -> i64 { a + b }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// let mut responder = Responder::new(CalculatorServer::new(EntryBuffers));
/// let call = br#"{"jsonrpc":"2.0","id":1,"method":"add","params":{"b":2,"a":1}}"#;
/// assert_eq!(responder.respond(call).await, br#"{"jsonrpc":"2.0","id":1,"result":3}"#);
/// # }
/// ```
pub struct Responder<S> {
    connection: Arc<ServerConnection<((), S)>>,
    lane: Arc<ServerStream>,
    scratch: WorkerBuffers,
    limits: Limits,
    /// Kept from one message to the next: there is only ever one.
    permit: Option<Permit>,
    _phase: watch::Sender<Phase>,
}

impl<S: Service> Responder<S> {
    /// A responder with the default limits.
    pub fn new(service: S) -> Self {
        Self::with_limits(service, Limits::default())
    }

    /// A responder with limits of its own.
    pub fn with_limits(service: S, limits: Limits) -> Self {
        let (phase, discovery) = (
            watch::Sender::new(Phase::Serving),
            DiscoverOptions::default(),
        );
        let shared = ServerShared::new(((), service), limits.clone(), discovery, phase.subscribe());
        let connection = ServerConnection::new(
            Arc::new(shared),
            Arc::new(ConnectionContext::unconnected()),
            Weak::new(),
        );
        let scratch = connection.scratch();
        let lane = ServerStream::answered_elsewhere(Arc::clone(connection.backlog()));
        Self {
            connection,
            lane,
            scratch,
            limits,
            permit: None,
            _phase: phase,
        }
    }

    /// Answers one message, a request or a batch. The answer is empty if there is none to give: to a notification.
    ///
    /// # Panics
    /// If the message has a `timeout`: outside a tokio runtime with timers. Outside a tokio runtime a `blocking` method is
    /// answered −32603.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler's.
    pub async fn respond(&mut self, message: &[u8]) -> &[u8] {
        let Self {
            connection,
            lane,
            scratch,
            limits,
            permit,
            ..
        } = self;
        scratch.shrink();
        scratch.message.clear();
        let taken = message.get(..limits.request);
        scratch.message.extend_from_slice(taken.unwrap_or(message));
        let cut = match message.len() > limits.request {
            true => Line::TooLarge,
            false => Line::Message,
        };
        serve(connection, lane, scratch, cut, &mut None, permit).await
    }
}

impl<S> fmt::Debug for Responder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}
