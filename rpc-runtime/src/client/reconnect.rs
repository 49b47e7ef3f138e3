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
    member: Option<EndpointNumber>,
}

impl ConnectionSlot {
    pub(super) fn only(client: Weak<ClientInner>) -> Self {
        Self {
            client,
            member: None,
        }
    }

    pub(super) fn of_member(client: &Arc<ClientInner>, member: EndpointNumber) -> Self {
        Self {
            client: Arc::downgrade(client),
            member: Some(member),
        }
    }

    pub(super) fn link(&self) -> Option<Option<Arc<ClientConnection>>> {
        let client = self.client.upgrade()?;
        Some(match self.member {
            Some(member) => client.members().link(member),
            None => client.links().pop(),
        })
    }

    pub(super) fn connected(&self, connection: Connection) -> Option<()> {
        let client = self.client.upgrade()?;
        let Some(member) = self.member else {
            client.connected(connection);
            return Some(());
        };
        let health = client.members().health(member)?;
        let link = client.open(connection, Some(health));
        client.change_members(|members| members.connected(member, link));
        Some(())
    }

    fn disconnected(&self, state: ConnectionState) -> Option<()> {
        let client = self.client.upgrade()?;
        match (self.member, state) {
            (None, state) => client.disconnected(state),
            // The others may go on.
            (Some(member), ConnectionState::Closed(_)) => {
                drop(client.change_members(|members| members.remove(member)));
            }
            (Some(member), state) => {
                client.change_members(|members| members.disconnected(member, state));
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

    fn heed_loss(&self, lost: &ConnectionLost) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(member) = self.member {
            client.members().health(member)?.heed_loss(lost);
        }
        Some(())
    }

    pub(super) fn set_ejected(&self, is_ejected: bool) -> Option<()> {
        let client = self.client.upgrade()?;
        if let Some(member) = self.member {
            client.change_members(|members| members.set_ejected(member, is_ejected));
        }
        Some(())
    }
}

/// Connects if there is no connection, and again whenever it is lost or drained. Without a dialer the first loss is the
/// client's end. `None`: the client is no more.
pub(super) async fn keep_connected(seat: ConnectionSlot, dialer: Option<Dialer>) -> Option<()> {
    let _ends = DisconnectOnDrop(seat.clone());
    let mut failures = 0;
    loop {
        let since = Instant::now();
        let retirement = seat.link()?.map(|link| link.retirement());
        let lost = match retirement {
            Some(retirement) => {
                let lost = retirement.await;
                seat.heed_loss(&lost)?;
                lost
            }
            None => never_connected(),
        };
        let Some(dialer) = &dialer else {
            // What is under way on a connection that drains may end.
            seat.disconnected(ConnectionState::Closed(lost))?;
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
        seat.disconnected(connecting(None))?;
        let connection = loop {
            if failures > 0 {
                sleep(dialer.backoff.delay(failures)).await;
            }
            failures += 1;
            match dialer.dial().await {
                Ok(connection) => break connection,
                Err(error) => {
                    tracing::warn!(server = %dialer.address, %error, "cannot connect");
                    seat.disconnected(connecting(Some(Arc::new(error))))?;
                }
            }
        };
        seat.connected(connection)?;
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
