//! Calls the other way: a client of whoever calls, on the connection on which its calls come.

use std::sync::{OnceLock, Weak};

use crate::client::Client;
use crate::client::connection::ClientConnection;
use crate::transport::Connection;

/// Whoever calls on a connection, and can be called on it while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Callback {
    way: CallbackRoute,
    /// Made for the first who asks.
    client: OnceLock<Client>,
}

/// The way to the caller. It keeps neither the connection nor its socket, for it is kept by whoever keeps the context of a
/// call.
#[derive(Debug, Default)]
enum CallbackRoute {
    /// The call came without a connection.
    #[default]
    None,
    /// The caller made the connection, and nobody calls on it from here yet.
    Accepted(Weak<Connection>),
    /// This side made it: calls share lanes and ids with those of its client.
    Made(Weak<ClientConnection>),
}

impl Callback {
    pub(crate) fn on_accepted(connection: Weak<Connection>) -> Self {
        Self::by(CallbackRoute::Accepted(connection))
    }

    pub(crate) fn on_made(link: Weak<ClientConnection>) -> Self {
        Self::by(CallbackRoute::Made(link))
    }

    fn by(way: CallbackRoute) -> Self {
        Self {
            way,
            client: OnceLock::new(),
        }
    }

    /// The same one for all calls of the connection.
    pub(crate) fn client(&self) -> Client {
        self.client.get_or_init(|| self.way.client()).clone()
    }

    /// Calls nobody any more, and waits until what was sent has arrived or the connection has ended.
    pub(crate) async fn close(&self) {
        if let Some(client) = self.client.get() {
            client.close().await;
        }
    }

    /// Waits until nothing more moves on a connection that has ended.
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
            Self::None => return Client::of_nobody("the call came without a connection"),
            Self::Accepted(connection) => connection
                .upgrade()
                .map(|connection| Client::on(Connection::clone(&connection))),
            Self::Made(link) => link.upgrade().map(Client::beside),
        };
        client.unwrap_or_else(|| Client::of_nobody("the connection has ended"))
    }
}
