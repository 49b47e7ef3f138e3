//! The list of the servers of a client that has several, with the state of each server.

use std::sync::Arc;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::address::Address;
use crate::client::balance::health::EndpointHealth;
use crate::client::connection::ClientConnection;
use crate::client::dial::ConnectError;
use crate::client::state::{ConnectionState, Status, connecting};

/// One of a client's servers and its state. [`Endpoints::list`](crate::balance::Endpoints::list) returns it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: Address,
    state: ConnectionState,
    in_flight: usize,
    is_ejected: bool,
}

impl Endpoint {
    /// Returns the address of the server.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the state of the connection to the server.
    pub fn state(&self) -> &ConnectionState {
        &self.state
    }

    /// Returns the number of calls that wait for replies of the server. A stream of items counts until it ends.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns `true` if the server gets no calls because too many calls to it have failed
    /// ([`eject_after`](crate::ClientBuilder::eject_after)).
    pub fn is_ejected(&self) -> bool {
        self.is_ejected
    }
}

/// The servers of a client that has several. Empty for a client with a single connection.
#[derive(Debug, Default)]
pub(in crate::client) struct EndpointList {
    endpoints: Vec<EndpointEntry>,
    /// Number of servers that have been added so far.
    so_far: u64,
    /// Number of changes of the list.
    changes: u64,
}

#[derive(Debug)]
pub(in crate::client) struct EndpointEntry {
    number: EndpointNumber,
    address: Address,
    state: ConnectionState,
    connection: Option<Arc<ClientConnection>>,
    is_ejected: bool,
    health: Arc<EndpointHealth>,
    /// Ends the tasks of the server when it is dropped.
    _tasks: DropGuard,
}

/// Identifies a server that was added. A server that is added again at the same address has another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct EndpointNumber(u64);

impl EndpointList {
    pub(in crate::client) fn contains(&self, address: &Address) -> bool {
        self.endpoints.iter().any(|known| known.address == *address)
    }

    pub(in crate::client) fn add(
        &mut self,
        address: Address,
        health: Arc<EndpointHealth>,
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

    /// Removes and returns the servers for which `keep` returns `false`.
    #[must_use = "servers are dropped without the lock"]
    pub(in crate::client) fn retain(
        &mut self,
        keep: impl Fn(&Address) -> bool,
    ) -> Vec<EndpointEntry> {
        let removed = self
            .endpoints
            .extract_if(.., |endpoint| !keep(&endpoint.address));
        removed.collect()
    }

    /// Removes and returns a server.
    #[must_use = "servers are dropped without the lock"]
    pub(in crate::client) fn remove(&mut self, number: EndpointNumber) -> Option<EndpointEntry> {
        let index = self.endpoints.iter().position(|e| e.number == number)?;
        Some(self.endpoints.remove(index))
    }

    /// Removes and returns all servers.
    #[must_use = "servers are dropped without the lock"]
    pub(in crate::client) fn clear(&mut self) -> Vec<EndpointEntry> {
        std::mem::take(&mut self.endpoints)
    }

    pub(in crate::client) fn list(&self) -> Vec<Endpoint> {
        let endpoint = |endpoint: &EndpointEntry| {
            let connection = endpoint.connection.as_ref();
            Endpoint {
                address: endpoint.address.clone(),
                state: endpoint.state.clone(),
                in_flight: connection.map_or(0, |connection| connection.in_flight()),
                is_ejected: endpoint.is_ejected,
            }
        };
        self.endpoints.iter().map(endpoint).collect()
    }

    fn get(&mut self, number: EndpointNumber) -> Option<&mut EndpointEntry> {
        self.endpoints.iter_mut().find(|e| e.number == number)
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
    ) -> Option<Arc<EndpointHealth>> {
        self.get(number)
            .map(|endpoint| Arc::clone(&endpoint.health))
    }

    pub(in crate::client) fn set_connected(
        &mut self,
        number: EndpointNumber,
        connection: Arc<ClientConnection>,
    ) {
        if let Some(endpoint) = self.get(number) {
            endpoint.state = ConnectionState::Connected;
            endpoint.connection = Some(connection);
            endpoint.health.stalls.reset();
        }
    }

    pub(in crate::client) fn set_disconnected(
        &mut self,
        number: EndpointNumber,
        state: ConnectionState,
    ) {
        if let Some(endpoint) = self.get(number) {
            endpoint.state = state;
            endpoint.connection = None;
        }
    }

    pub(in crate::client) fn set_ejected(&mut self, number: EndpointNumber, is_ejected: bool) {
        if let Some(endpoint) = self.get(number) {
            endpoint.is_ejected = is_ejected;
        }
    }

    /// Counts a change and returns the client's status after it.
    pub(in crate::client) fn changed(&mut self) -> Status {
        self.changes += 1;
        self.status()
    }

    /// Returns the client's status: connected while at least one of the servers is.
    pub(in crate::client) fn status(&self) -> Status {
        let connections = |filter: fn(&EndpointEntry) -> bool| -> Vec<_> {
            let endpoints = self.endpoints.iter().filter(|endpoint| filter(endpoint));
            endpoints.filter_map(|e| e.connection.clone()).collect()
        };
        let healthy = connections(|endpoint| !endpoint.is_ejected);
        // When all servers are ejected, they get calls as if none were.
        let connections = match healthy.is_empty() {
            true => connections(|_| true),
            false => healthy,
        };
        let state = match connections.is_empty() {
            true => self.disconnected_state(),
            false => ConnectionState::Connected,
        };
        Status::new(state, connections, self.changes)
    }

    /// Returns the client's state while none of its servers is connected.
    fn disconnected_state(&self) -> ConnectionState {
        let states = || self.endpoints.iter().map(|endpoint| &endpoint.state);
        let is_trying = |state: &&ConnectionState| {
            matches!(state, ConnectionState::Connecting { error: None, .. })
        };
        let state = states().find(is_trying).or(states().next_back());
        state
            .cloned()
            .unwrap_or_else(|| connecting(self.no_servers()))
    }

    /// Returns the error of a client without servers; `None` before the list is first set.
    fn no_servers(&self) -> Option<Arc<ConnectError>> {
        let not_found = ConnectError::Resolve(std::io::ErrorKind::NotFound.into());
        (self.changes > 0).then(|| Arc::new(not_found))
    }
}
