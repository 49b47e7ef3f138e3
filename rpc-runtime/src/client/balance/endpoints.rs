//! Adds and removes the servers of a client that has several, and starts the tasks that connect to them.

use std::fmt;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::address::Address;
use crate::client::balance::endpoint_list::{Endpoint, EndpointList};
use crate::client::balance::health::EndpointHealth;
use crate::client::balance::outlier::Ejection;
use crate::client::balance::probe::eject_outlier;
use crate::client::balance::stall::Sample;
use crate::client::connector::Connector;
use crate::client::dial::DialSettings;
use crate::client::handle::ClientInner;
use crate::client::reconnect::{ConnectionSlot, keep_connected};
use crate::client::state::{ConnectionState, StateWatch, Status};

/// A handle to the servers of a client, which may change while the client is in use.
/// [`ClientBuilder::balanced`](crate::ClientBuilder::balanced) returns it.
///
/// The handle does not keep the client alive.
///
/// ```
/// # use rpc_runtime::{Client, ConnectError, Trust};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rpc_runtime::Address;
///
/// let (client, endpoints) = Client::builder().trust(Trust::system()).balanced()?;
/// let (one, other): (Address, Address) = ("10.0.0.1:4433".parse()?, "10.0.0.2:4433".parse()?);
/// endpoints.insert(one.clone());
/// endpoints.insert(other.clone());
/// endpoints.remove(&one);
/// assert_eq!(endpoints.list().len(), 1);
/// assert_eq!(endpoints.list()[0].address(), &other);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Endpoints {
    client: Weak<ClientInner>,
    settings: Arc<EndpointSettings>,
    status: watch::Receiver<Status>,
}

/// Settings for connecting to each server and for ejecting it.
pub(in crate::client) struct EndpointSettings {
    pub(in crate::client) dial: DialSettings,
    pub(in crate::client) ejection: Ejection,
}

impl Endpoints {
    pub(in crate::client) fn new(client: &Arc<ClientInner>, settings: EndpointSettings) -> Self {
        Self {
            client: Arc::downgrade(client),
            settings: Arc::new(settings),
            status: client.status.subscribe(),
        }
    }

    /// Adds a server and connects to it. Returns `false` if the server was added before or the client is closed.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn insert(&self, address: Address) -> bool {
        let Some(client) = self.client.upgrade() else {
            return false;
        };
        client.change_endpoints(|endpoints| self.add(&client, endpoints, address))
    }

    /// Removes a server. Returns `true` if the server was in the list.
    ///
    /// The server gets no more calls, and its connection is closed when its calls in flight have ended.
    pub fn remove(&self, address: &Address) -> bool {
        let Some(client) = self.client.upgrade() else {
            return false;
        };
        let removed = client.change_endpoints(|list| list.retain(|known| known != address));
        !removed.is_empty()
    }

    /// Replaces the list of servers: adds new servers, and removes servers that are not among `addresses`.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn set(&self, addresses: impl IntoIterator<Item = Address>) {
        let addresses: Vec<_> = addresses.into_iter().collect();
        let Some(client) = self.client.upgrade() else {
            return;
        };
        let removed = client.change_endpoints(|endpoints| {
            let removed = endpoints.retain(|known| addresses.contains(known));
            for address in addresses {
                self.add(&client, endpoints, address);
            }
            removed
        });
        drop(removed);
    }

    /// Returns the state of the client, as [`Client::state`](crate::Client::state) does.
    pub fn state(&self) -> ConnectionState {
        self.status.borrow().state.clone()
    }

    /// Returns a watch that reports each change of the [`state`](Self::state).
    ///
    /// A program that discovers servers looks again when no server can be reached, and stops when the client is closed.
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.status.clone())
    }

    /// Returns the servers and their states, in the order in which they were added. Returns none once the client is closed.
    pub fn list(&self) -> Vec<Endpoint> {
        let client = self.client.upgrade();
        client.map_or(Vec::new(), |client| client.endpoints().list())
    }

    /// Adds a server and starts the tasks that connect to it and observe it.
    fn add(
        &self,
        client: &Arc<ClientInner>,
        endpoints: &mut EndpointList,
        address: Address,
    ) -> bool {
        if client.closed.is_cancelled() || endpoints.contains(&address) {
            return false;
        }
        let (removed, closed) = (CancellationToken::new(), client.closed.clone());
        let health = Arc::new(EndpointHealth::new(self.settings.ejection));
        let connector = Connector::new(self.settings.dial.clone(), address.clone());
        let number = endpoints.add(address, Arc::clone(&health), removed.clone());
        let slot = ConnectionSlot::of_endpoint(client, number);
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = removed.cancelled() => {}
                _ = keep_connected(slot.clone(), Some(connector)) => {}
                _ = eject_outlier(&health.outliers, &slot) => {}
                _ = health.stalls.watch(|| sample(&slot), || probe(&slot)) => {}
            }
        });
        true
    }
}

/// Returns the current counters of the connection to a server; `None` when the client has been dropped.
fn sample(slot: &ConnectionSlot) -> Option<Option<Sample>> {
    let connection = slot.connection()?;
    Some(connection.and_then(|connection| connection.sample()))
}

fn probe(slot: &ConnectionSlot) {
    if let Some(Some(connection)) = slot.connection() {
        connection.probe();
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
