//! Sees to it that there is a connection to a server for as long as there is a client.

use std::sync::{Arc, Weak};

use tokio::time::{Instant, sleep};

use crate::client::ClientInner;
use crate::client::address::Address;
use crate::client::balance::endpoints::EndpointNumber;
use crate::client::builder::{ConnectError, Settings};
use crate::client::connection::ClientConnection;
use crate::client::retry::backoff::Backoff;
use crate::client::state::{ConnectionState, never_connected};
use crate::transport::{Connection, ConnectionLost};

/// All that a connection is made of.
pub(super) struct Dialer {
    pub(super) settings: Settings,
    pub(super) address: Address,
    pub(super) backoff: Backoff,
}

impl Dialer {
    pub(super) async fn dial(&self) -> Result<Connection, ConnectError> {
        self.settings.dial(&self.address).await
    }
}

/// Whose connection it is: a client's only one, or that to one of its servers. `None` of its methods: the client is no
/// more.
#[derive(Clone)]
pub(super) struct ConnectionSlot {
    client: Weak<ClientInner>,
    endpoint: Option<EndpointNumber>,
}

impl ConnectionSlot {
    pub(super) fn only(client: Weak<ClientInner>) -> Self {
        Self {
            client,
            endpoint: None,
        }
    }

    pub(super) fn of_endpoint(client: &Arc<ClientInner>, endpoint: EndpointNumber) -> Self {
        Self {
            client: Arc::downgrade(client),
            endpoint: Some(endpoint),
        }
    }

    pub(super) fn connection(&self) -> Option<Option<Arc<ClientConnection>>> {
        let client = self.client.upgrade()?;
        Some(match self.endpoint {
            Some(endpoint) => client.endpoints().connection(endpoint),
            None => client.connections().pop(),
        })
    }

    pub(super) fn connected(&self, connection: Connection) -> Option<()> {
        let client = self.client.upgrade()?;
        let Some(endpoint) = self.endpoint else {
            client.connected(connection);
            return Some(());
        };
        let health = client.endpoints().health(endpoint)?;
        let connection = client.open(connection, Some(health));
        client.change_endpoints(|endpoints| endpoints.connected(endpoint, connection));
        Some(())
    }

    fn disconnected(&self, state: ConnectionState) -> Option<()> {
        let client = self.client.upgrade()?;
        match (self.endpoint, state) {
            (None, state) => client.disconnected(state),
            // The others may go on.
            (Some(endpoint), ConnectionState::Closed(_)) => {
                drop(client.change_endpoints(|endpoints| endpoints.remove(endpoint)));
            }
            (Some(endpoint), state) => {
                client.change_endpoints(|endpoints| endpoints.disconnected(endpoint, state));
            }
        }
        Some(())
    }

    /// Ends the client, and with it the connections to all of its servers.
    fn end_client(&self) -> Option<()> {
        let client = self.client.upgrade()?;
        client.end(ConnectionLost::ClosedHere);
        Some(())
    }

    fn record_loss(&self, lost: &ConnectionLost) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(endpoint) = self.endpoint {
            client.endpoints().health(endpoint)?.record_loss(lost);
        }
        Some(())
    }

    pub(super) fn set_ejected(&self, is_ejected: bool) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(endpoint) = self.endpoint {
            client.change_endpoints(|endpoints| endpoints.set_ejected(endpoint, is_ejected));
        }
        Some(())
    }
}

/// Connects if there is no connection, and again whenever it is lost or drained. Without a dialer the first loss is the
/// client's end. `None`: the client is no more.
pub(super) async fn keep_connected(slot: ConnectionSlot, dialer: Option<Dialer>) -> Option<()> {
    let _ends = DisconnectOnDrop(slot.clone());
    let mut failures = 0;
    loop {
        let since = Instant::now();
        let retirement = slot.connection()?.map(|connection| connection.retirement());
        let lost = match retirement {
            Some(retirement) => {
                let lost = retirement.await;
                slot.record_loss(&lost)?;
                lost
            }
            None => never_connected(),
        };
        let Some(dialer) = &dialer else {
            // What is under way on a connection that drains may end.
            slot.disconnected(ConnectionState::Closed(lost))?;
            return None;
        };
        // A server that takes connections only to drop them is not asked all the time.
        if since.elapsed() > dialer.backoff.max {
            failures = 0;
        }
        let connecting = |error| ConnectionState::Connecting {
            lost: lost.clone(),
            error,
        };
        tracing::info!(server = %dialer.address, %lost, "connecting");
        slot.disconnected(connecting(None))?;
        let connection = loop {
            if failures > 0 {
                sleep(dialer.backoff.delay(failures)).await;
            }
            failures += 1;
            match dialer.dial().await {
                Ok(connection) => break connection,
                Err(error) => {
                    tracing::warn!(server = %dialer.address, %error, "cannot connect");
                    slot.disconnected(connecting(Some(Arc::new(error))))?;
                }
            }
        };
        slot.connected(connection)?;
    }
}

/// A client whose task is gone, with the runtime that it ran on, say, has nobody to connect it again; nor has one of its
/// servers.
struct DisconnectOnDrop(ConnectionSlot);

impl Drop for DisconnectOnDrop {
    fn drop(&mut self) {
        self.0
            .disconnected(ConnectionState::Closed(ConnectionLost::ClosedHere));
    }
}

/// A client of several servers whose task is gone takes no more calls, and so needs none of them.
pub(super) struct EndClientOnDrop(pub(super) ConnectionSlot);

impl Drop for EndClientOnDrop {
    fn drop(&mut self) {
        self.0.end_client();
    }
}
