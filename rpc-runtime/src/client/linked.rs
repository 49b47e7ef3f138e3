//! A client of a service in the same process, with a link in between.

use std::sync::Arc;

use tokio::time::timeout;

use crate::client::builder::ClientBuilder;
use crate::client::callback::{IntoServePeer, ServePeer};
use crate::client::connector::Connector;
use crate::client::dial::{CONNECT_TIMEOUT, ConnectError, DialSettings};
use crate::client::handle::Client;
use crate::description::discover::DiscoverOptions;
use crate::limits::Limits;
use crate::service::Service;
use crate::service::router::{Router, Single};
use crate::transport::Connection;
use crate::transport::link::Link;

/// A service behind a link.
pub(super) struct LinkedService {
    pub(super) settings: DialSettings,
    link: Link,
    server: Arc<dyn ServePeer>,
}

impl LinkedService {
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let limit = self.settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let connected = timeout(limit, self.link.connect()).await;
        let (client, service) = connected.map_err(|_| ConnectError::Timeout)?;
        tokio::spawn(self.server.serve(Connection::Memory(service), None));
        Ok(Connection::Memory(client))
    }
}

#[allow(private_bounds)] // the type of the list of services is private
impl<R> ClientBuilder<R> {
    /// Creates a client of a service in the same process, with a network in between that injects faults. The client connects
    /// when it makes its first call, and reconnects as over a network, with all settings of this builder except those of TLS.
    ///
    /// Needs the feature `testing`. [`Link`] has an example.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and if two of the client's services have a method of the same name.
    pub fn local_through<S: Service>(self, link: &Link, service: S) -> Client
    where
        R: Router,
    {
        let link = link.clone();
        let server = Single(service).into_serve_peer(Limits::default(), DiscoverOptions::default());
        let connector = |settings| {
            Connector::Linked(LinkedService {
                settings,
                link,
                server,
            })
        };
        self.lazy(connector)
            .unwrap_or_else(|twice| panic!("{twice}"))
    }
}
