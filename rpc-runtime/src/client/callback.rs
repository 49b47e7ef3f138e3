//! Calls back to the peer, and services for the peer. Here the calling half and the serving half of a connection meet.
//!
//! A handler calls its caller with [`Context::client`], through the [`Callback`] of the connection. A client that serves its
//! server passes each connection to a [`ServePeer`], which the server implements.

use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};

use crate::client::connection::ClientConnection;
use crate::client::handle::{Client, Services};
use crate::context::Context;
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::limits::Limits;
use crate::memory::ConnectionMemory;
use crate::transport::Connection;

/// Serves the calls that the peer makes on a connection, for any set of services.
pub(crate) trait ServePeer: Send + Sync {
    /// Serves one connection until it is lost or drained. `callback` calls the peer; `None` creates a callback for a
    /// connection that the peer opened.
    fn serve(
        &self,
        connection: Connection,
        callback: Option<Callback>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Services that can serve a peer. The server implements this trait for every router.
pub(crate) trait IntoServePeer {
    fn into_serve_peer(
        self,
        limits: Limits,
        discover: DiscoverOptions,
        events: EventHook,
    ) -> Arc<dyn ServePeer>;
}

/// Returns the function that serves the peer of each connection that a client opens.
pub(super) fn serve_peers(services: Arc<dyn ServePeer>) -> Services {
    Box::new(move |connection| {
        let callback = Callback::on_made(Arc::downgrade(connection));
        services.serve(connection.transport.clone(), Some(callback))
    })
}

impl std::fmt::Debug for dyn ServePeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("services")
    }
}

impl Context {
    /// Returns a client that calls the caller of this handler, which serves with
    /// [`ClientBuilder::service`](crate::ClientBuilder::service).
    ///
    /// `C` is the `…Client` of a trait, or a [`Client`] for calls by name. The calls are sent on the connection on which
    /// this call arrived, with the same streams, deadlines, errors and limits as other calls.
    ///
    /// ```
    /// use rpc_runtime::{Context, rpc};
    ///
    /// #[rpc]
    /// trait Jobs {
    ///     async fn run(&self, cx: &Context, steps: u32) -> Result<u32, rpc_runtime::ErrorObject>;
    /// }
    ///
    /// /// The service that callers of `Jobs` serve.
    /// #[rpc]
    /// trait Progress {
    ///     #[rpc(notification)]
    ///     async fn made(&self, step: u32);
    /// }
    ///
    /// struct Worker;
    /// impl Jobs for Worker {
    ///     async fn run(&self, cx: &Context, steps: u32) -> Result<u32, rpc_runtime::ErrorObject> {
    ///         let progress = cx.client::<ProgressClient>();
    ///         for step in 1..=steps {
    ///             // The work continues if the caller has disconnected.
    ///             let _ = progress.made(step).await;
    ///         }
    ///         Ok(steps)
    ///     }
    /// }
    /// ```
    ///
    /// The handler may keep the client. The client lasts as long as the connection, and does not keep the connection open.
    /// Afterwards its calls end with [`CallError::Connection`](crate::CallError::Connection), and [`Client::closed`] returns
    /// the reason. [`Client::close`] ends the calls to the caller, and not the connection. A client that reconnects is
    /// another caller. Without a connection, in a [`RawService`](crate::RawService), all calls fail.
    ///
    /// A caller without services answers with [−32601](crate::code::METHOD_NOT_FOUND), which is
    /// [`CallError::Remote`](crate::CallError::Remote).
    ///
    /// Handlers may call back and forth within one call. Each call counts as a call in flight of its side
    /// ([`Limits::max_concurrent_calls_per_connection`](crate::Limits::max_concurrent_calls_per_connection)) until it ends.
    /// When handlers that wait for a call back to the same side use up that limit, both sides wait until a deadline ends the
    /// calls.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, the first time on a connection.
    pub fn client<C: From<Client>>(&self) -> C {
        match self.callback().downcast_ref::<Callback>() {
            Some(callback) => C::from(callback.client()),
            None => C::from(Client::unconnected("the call came without a connection")),
        }
    }
}

/// Calls the peer of a connection, as long as the connection lasts.
#[derive(Debug, Default)]
pub(crate) struct Callback {
    route: CallbackRoute,
    /// Created on first use.
    client: OnceLock<Client>,
}

/// The route to the peer. Holds neither the connection nor its socket, since a handler may keep the context of a call.
#[derive(Debug, Default)]
enum CallbackRoute {
    /// The call arrived without a connection.
    #[default]
    None,
    /// The peer opened the connection, and this side has no client for it yet.
    Accepted(Weak<Connection>, Weak<ConnectionMemory>),
    /// This side opened the connection. Calls share streams and ids with the calls of its client.
    Made(Weak<ClientConnection>),
}

impl Callback {
    /// Creates a callback to the peer that opened the connection. `memory` counts the memory that is held for the peer.
    pub(crate) fn on_accepted(
        connection: Weak<Connection>,
        memory: Weak<ConnectionMemory>,
    ) -> Self {
        Self::by(CallbackRoute::Accepted(connection, memory))
    }

    fn on_made(connection: Weak<ClientConnection>) -> Self {
        Self::by(CallbackRoute::Made(connection))
    }

    fn by(route: CallbackRoute) -> Self {
        Self {
            route,
            client: OnceLock::new(),
        }
    }

    /// Returns the memory counter of the connection, if this side opened the connection.
    pub(crate) fn memory(&self) -> Option<Arc<ConnectionMemory>> {
        match &self.route {
            CallbackRoute::Made(connection) => {
                let connection = connection.upgrade()?;
                Some(Arc::clone(&connection.budget.memory))
            }
            CallbackRoute::None | CallbackRoute::Accepted(..) => None,
        }
    }

    /// Returns the client that calls the peer. All calls of the connection share it.
    pub(crate) fn client(&self) -> Client {
        self.client.get_or_init(|| self.route.client()).clone()
    }

    /// Ends the calls to the peer, and waits until the sent data has arrived or the connection has ended.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }

    /// Waits until the tasks of the client have ended, after the connection has ended.
    pub(crate) async fn ended(&self) {
        if let Some(client) = self.client.get() {
            client.closed().await;
            client.close().await;
        }
    }
}

impl CallbackRoute {
    fn client(&self) -> Client {
        let client = match self {
            Self::None => return Client::unconnected("the call came without a connection"),
            Self::Accepted(connection, memory) => {
                let reached = connection.upgrade().zip(memory.upgrade());
                reached.map(|(connection, memory)| {
                    Client::on_accepted(Connection::clone(&connection), memory)
                })
            }
            Self::Made(connection) => connection.upgrade().map(Client::sharing),
        };
        client.unwrap_or_else(|| Client::unconnected("the connection has ended"))
    }
}
