//! A client of a service in the same process, with a link in between.

use std::sync::Arc;

use tokio::time::timeout;

use crate::client::callback::ServePeer;
use crate::client::dial::{ConnectError, DialSettings};
use crate::transport::Connection;
use crate::transport::link::Link;

/// The address of a linked service.
pub(super) const LINKED: &str = "linked service";

/// A service behind a link.
pub(super) struct LinkedService {
    pub(super) settings: DialSettings,
    pub(super) link: Link,
    pub(super) server: Arc<dyn ServePeer>,
}

impl LinkedService {
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let limit = self.settings.connect_timeout();
        let connected = timeout(limit, self.link.connect()).await;
        let (client, service) = connected.map_err(|_| ConnectError::timeout(&LINKED))?;
        tokio::spawn(self.server.serve(Connection::Memory(service), None));
        Ok(Connection::Memory(client))
    }
}
