//! The servers of a client that has several. Each has a connection of its own, which is made again when it is lost.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::ClientInner;
use crate::client::address::Address;
use crate::client::balance::outlier::OutlierDetector;
use crate::client::balance::stall;
use crate::client::builder::{ConnectError, Settings};
use crate::client::connection::ClientConnection;
use crate::client::reconnect::{ConnectionSlot, keep_connected};
use crate::client::state::{ConnectionState, StateWatch, Status, never_connected};

/// The servers of a client, which may change while it is used. [`ClientBuilder::balance`](crate::ClientBuilder::balance)
/// makes one. It does not keep the client.
///
/// ```
/// # use rpc_runtime::{Client, ConnectError, Trust};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use rpc_runtime::Address;
///
/// let (client, endpoints) = Client::builder().trust(Trust::system()).balance()?;
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
    settings: Arc<Settings>,
    status: watch::Receiver<Status>,
}

/// How one of a client's servers stands. [`Endpoints::list`] tells it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: Address,
    state: ConnectionState,
    in_flight: usize,
    is_ejected: bool,
}

impl Endpoint {
    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is connected.
    pub fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// How many calls wait for its answers. A stream of items is one for as long as it lasts.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether it gets no calls because too many of them have failed
    /// ([`eject_after`](crate::ClientBuilder::eject_after)).
    pub fn is_ejected(&self) -> bool {
        self.is_ejected
    }
}

impl Endpoints {
    pub(in crate::client) fn new(client: &Arc<ClientInner>, settings: Settings) -> Self {
        Self {
            client: Arc::downgrade(client),
            settings: Arc::new(settings),
            status: client.status.subscribe(),
        }
    }

    /// Adds a server and connects to it. Says whether it is new, and the client not closed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn insert(&self, address: Address) -> bool {
        let Some(client) = self.client.upgrade() else {
            return false;
        };
        client.change_endpoints(|endpoints| endpoints.insert(&client, address, &self.settings))
    }

    /// Sends no more calls to a server. Those that are under way go on, and then the connection is closed. Says whether
    /// it was there.
    pub fn remove(&self, address: &Address) -> bool {
        let Some(client) = self.client.upgrade() else {
            return false;
        };
        let removed = client.change_endpoints(|endpoints| endpoints.keep(|known| known != address));
        !removed.is_empty()
    }

    /// Takes the place of all servers: adds those that are new, and removes those that are not among `addresses`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn set(&self, addresses: impl IntoIterator<Item = Address>) {
        let addresses: Vec<_> = addresses.into_iter().collect();
        let Some(client) = self.client.upgrade() else {
            return;
        };
        let removed = client.change_endpoints(|endpoints| {
            let removed = endpoints.keep(|known| addresses.contains(known));
            for address in addresses {
                endpoints.insert(&client, address, &self.settings);
            }
            removed
        });
        drop(removed);
    }

    /// Whether the client has a connection to one of them: [`Client::state`](crate::Client::state).
    pub fn state(&self) -> ConnectionState {
        self.status.borrow().state.clone()
    }

    /// Shows what [`state`](Self::state) will change to: for whoever finds servers and looks again when none can be
    /// reached, or stops when the client is closed.
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.status.clone())
    }

    /// The servers and how they stand, in the order in which they were added. None once the client is closed.
    pub fn list(&self) -> Vec<Endpoint> {
        let client = self.client.upgrade();
        client.map_or(Vec::new(), |client| client.endpoints().list())
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// The servers of a client that has several, and none of one that has not.
#[derive(Debug, Default)]
pub(in crate::client) struct EndpointList {
    endpoints: Vec<EndpointEntry>,
    /// How many there ever were.
    so_far: u64,
    /// How often something has changed.
    changes: u64,
}

#[derive(Debug)]
pub(in crate::client) struct EndpointEntry {
    number: EndpointNumber,
    address: Address,
    state: ConnectionState,
    connection: Option<Arc<ClientConnection>>,
    is_ejected: bool,
    health: Arc<OutlierDetector>,
    /// Ends its tasks when it is dropped.
    _tasks: DropGuard,
}

/// Which one: another at the same address has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct EndpointNumber(u64);

impl EndpointList {
    fn insert(&mut self, client: &Arc<ClientInner>, address: Address, settings: &Settings) -> bool {
        if client.closed.is_cancelled() || self.endpoints.iter().any(|m| m.address == address) {
            return false;
        }
        let (removed, closed) = (CancellationToken::new(), client.closed.clone());
        let health = Arc::new(OutlierDetector::new(settings.ejection));
        let dialer = settings.clone().dialer(address.clone());
        let number = self.add(address, Arc::clone(&health), removed.clone());
        let slot = ConnectionSlot::of_endpoint(client, number);
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = removed.cancelled() => {}
                _ = keep_connected(slot.clone(), Some(dialer)) => {}
                _ = health.watch(&slot) => {}
                _ = stall::watch(&slot) => {}
            }
        });
        true
    }

    pub(in crate::client) fn add(
        &mut self,
        address: Address,
        health: Arc<OutlierDetector>,
        removed: CancellationToken,
    ) -> EndpointNumber {
        self.so_far += 1;
        let number = EndpointNumber(self.so_far);
        self.endpoints.push(EndpointEntry {
            number,
            address,
            state: connecting(None),
            connection: None,
            is_ejected: false,
            health,
            _tasks: removed.drop_guard(),
        });
        number
    }

    /// Takes out the others.
    fn keep(&mut self, keep: impl Fn(&Address) -> bool) -> Vec<EndpointEntry> {
        let others = self
            .endpoints
            .extract_if(.., |endpoint| !keep(&endpoint.address));
        others.collect()
    }

    fn list(&self) -> Vec<Endpoint> {
        let endpoint = |endpoint: &EndpointEntry| Endpoint {
            address: endpoint.address.clone(),
            state: endpoint.state.clone(),
            in_flight: endpoint
                .connection
                .as_ref()
                .map_or(0, |connection| connection.in_flight()),
            is_ejected: endpoint.is_ejected,
        };
        self.endpoints.iter().map(endpoint).collect()
    }

    fn get(&mut self, number: EndpointNumber) -> Option<&mut EndpointEntry> {
        self.endpoints.iter_mut().find(|m| m.number == number)
    }

    pub(in crate::client) fn connection(
        &mut self,
        number: EndpointNumber,
    ) -> Option<Arc<ClientConnection>> {
        self.get(number)?.connection.clone()
    }

    pub(in crate::client) fn health(
        &mut self,
        number: EndpointNumber,
    ) -> Option<Arc<OutlierDetector>> {
        self.get(number)
            .map(|endpoint| Arc::clone(&endpoint.health))
    }

    pub(in crate::client) fn connected(
        &mut self,
        number: EndpointNumber,
        connection: Arc<ClientConnection>,
    ) {
        if let Some(endpoint) = self.get(number) {
            endpoint.state = ConnectionState::Connected;
            endpoint.connection = Some(connection);
        }
    }

    pub(in crate::client) fn disconnected(
        &mut self,
        number: EndpointNumber,
        state: ConnectionState,
    ) {
        if let Some(endpoint) = self.get(number) {
            endpoint.state = state;
            endpoint.connection = None;
        }
    }

    /// Takes one out, and gives it back for dropping.
    pub(in crate::client) fn remove(&mut self, number: EndpointNumber) -> Option<EndpointEntry> {
        let place = self.endpoints.iter().position(|m| m.number == number)?;
        Some(self.endpoints.remove(place))
    }

    pub(in crate::client) fn set_ejected(&mut self, number: EndpointNumber, is_ejected: bool) {
        if let Some(endpoint) = self.get(number) {
            endpoint.is_ejected = is_ejected;
        }
    }

    /// How the client stands: connected while one of them is.
    pub(in crate::client) fn status(&self) -> Status {
        let connections = |and: fn(&EndpointEntry) -> bool| -> Vec<_> {
            let endpoints = self.endpoints.iter().filter(|endpoint| and(endpoint));
            endpoints
                .filter_map(|endpoint| endpoint.connection.clone())
                .collect()
        };
        let healthy = connections(|endpoint| !endpoint.is_ejected);
        // Where all calls fail, another one can do no harm.
        let connections = match healthy.is_empty() {
            true => connections(|_| true),
            false => healthy,
        };
        let state = match connections.is_empty() {
            true => self.trouble(),
            false => ConnectionState::Connected,
        };
        Status::new(state, connections, self.changes)
    }

    /// How those stand of which none is connected.
    fn trouble(&self) -> ConnectionState {
        let states = || self.endpoints.iter().map(|endpoint| &endpoint.state);
        let is_trying = |state: &&ConnectionState| {
            matches!(state, ConnectionState::Connecting { error: None, .. })
        };
        let state = states().find(is_trying).or(states().next_back());
        state.cloned().unwrap_or_else(|| connecting(self.nobody()))
    }

    /// Why nobody can be reached where there is nobody; no reason before anybody has said who there is.
    fn nobody(&self) -> Option<Arc<ConnectError>> {
        let nobody = ConnectError::Resolve(std::io::ErrorKind::NotFound.into());
        (self.changes > 0).then(|| Arc::new(nobody))
    }
}

/// The state of what was never connected.
fn connecting(error: Option<Arc<ConnectError>>) -> ConnectionState {
    ConnectionState::Connecting {
        lost: never_connected(),
        error,
    }
}

impl ClientInner {
    pub(in crate::client) fn endpoints(&self) -> MutexGuard<'_, EndpointList> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the servers of a client that is closed.
    pub(in crate::client) fn clear_endpoints(&self) {
        let endpoints = std::mem::take(&mut self.endpoints().endpoints);
        drop(endpoints);
    }

    /// Changes the servers, and where calls leave.
    pub(in crate::client) fn change_endpoints<R>(
        &self,
        change: impl FnOnce(&mut EndpointList) -> R,
    ) -> R {
        let mut endpoints = self.endpoints();
        let result = change(&mut endpoints);
        endpoints.changes += 1;
        let status = endpoints.status();
        drop(endpoints);
        self.change(status);
        result
    }
}
