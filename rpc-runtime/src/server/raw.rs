//! `RawService`: answers messages that were received without a connection.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::context::ConnectionContext;
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::ServerMemory;
use crate::phase::PhaseWatch;
use crate::server::connection::ServerConnection;
use crate::server::direct::DirectCall;
use crate::server::health::HealthStates;
use crate::server::shared::{ServerShared, SharedSettings};
use crate::service::Service;
use crate::service::router::Single;

/// Answers messages one at a time, without a transport. It serves other transports, such as standard input or a web socket,
/// and it tests or measures a service on raw JSON.
///
/// ```
/// use rpc_runtime::{RawService, rpc};
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
/// # async fn main() {
/// let mut service = RawService::new(CalculatorServer::new(Desk));
/// let call = br#"{"jsonrpc":"2.0","id":1,"method":"add","params":{"b":2,"a":1}}"#;
/// assert_eq!(service.respond(call).await, br#"{"jsonrpc":"2.0","id":1,"result":3}"#);
/// # }
/// ```
pub struct RawService<S> {
    call: DirectCall<Single<S>>,
}

impl<S: Service> RawService<S> {
    /// Creates a service with the default limits.
    pub fn new(service: S) -> Self {
        Self::with_limits(service, Limits::default())
    }

    /// Creates a service with these limits.
    pub fn with_limits(service: S, limits: Limits) -> Self {
        let settings = SharedSettings {
            memory: ServerMemory::new(&limits),
            limits,
            discover: DiscoverOptions::default(),
            phase: PhaseWatch::never(),
            events: EventHook::default(),
            health: HealthStates::new(&[S::DESCRIPTION]),
        };
        let shared = ServerShared::new(Single(service), settings);
        Self::with_shared(Arc::new(shared))
    }

    fn with_shared(shared: Arc<ServerShared<Single<S>>>) -> Self {
        let context = Arc::new(ConnectionContext::unconnected());
        let memory = shared.memory(None);
        let connection = ServerConnection::new(shared, memory, context, Weak::new(), |_, _, _| {});
        Self {
            call: DirectCall::new(connection),
        }
    }

    /// Answers one message, which is a request or a batch. The reply is empty if there is none, as for a notification.
    ///
    /// A call of a `blocking` method outside a tokio runtime is answered with the error −32603.
    ///
    /// # Panics
    /// Panics if the message has a `timeout` and there is no tokio runtime with timers.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handler's future.
    // Not an `async fn`, which would make the type of the future deeper; the compiler limits the depth.
    pub fn respond(&mut self, message: &[u8]) -> impl Future<Output = &[u8]> + use<'_, S> {
        self.call.begin();
        self.call.push(message);
        self.call.answer()
    }
}

/// Returns a service that answers messages independently, as another connection of the same server does. Both count towards
/// the same [`Limits::max_concurrent_calls`] and [`Limits::max_memory_bytes`].
impl<S: Service> Clone for RawService<S> {
    fn clone(&self) -> Self {
        let shared = self.call.connection().shared();
        Self::with_shared(Arc::clone(shared))
    }
}

impl<S> fmt::Debug for RawService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawService").finish_non_exhaustive()
    }
}
