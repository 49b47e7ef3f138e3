//! Limits the connections of a server, in total and for each address and network, and its handshakes.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::event::{EventHook, HandshakeFailure};
use crate::limits::Limits;
use crate::server::limits::handshakes::{HandshakeKey, Handshakes, Origin};
use crate::server::limits::rejections::{ReachedLimit, RejectionLog};
use crate::share::{Share, admits};
use crate::sync::{Mutex, MutexGuard, lock};

/// Counts the connections and handshakes of a server, and admits further ones within the limits.
#[derive(Debug)]
pub(in crate::server) struct ConnectionLimits {
    limits: Limits,
    address_share: Share,
    network_share: Share,
    counts: Mutex<Counts>,
    rejections: RejectionLog,
}

#[derive(Debug)]
struct Counts {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
    by_network: HashMap<IpAddr, usize>,
    handshakes: Handshakes,
}

/// The reason why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Rejection {
    /// The client must validate its address first, since a limit of handshakes is reached.
    Unvalidated,
    /// This limit of connections is reached.
    Full(ReachedLimit),
    /// The limit of handshakes is reached, and no other handshake makes room.
    Busy,
}

/// Counts one connection, from before its handshake until this is dropped.
#[derive(Debug)]
pub(in crate::server) struct ConnectionSlotGuard {
    owner: Arc<ConnectionLimits>,
    origin: Origin,
    /// The handshake until it is done, and the notification that it must make room for another handshake.
    handshake: Option<(HandshakeKey, Arc<Notify>)>,
}

impl ConnectionLimits {
    pub(in crate::server) fn new(limits: Limits, events: EventHook) -> Arc<Self> {
        let share = |percent| Share::new(percent, limits.max_connections);
        Arc::new(Self {
            address_share: share(limits.max_percent_per_address),
            network_share: share(limits.max_percent_per_network),
            counts: Mutex::new(Counts {
                connections: 0,
                by_address: HashMap::new(),
                by_network: HashMap::new(),
                handshakes: Handshakes::new(&limits),
            }),
            rejections: RejectionLog::new(events),
            limits,
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    /// Counts a connection of `peer` and its handshake. `is_validated` is `true` if QUIC has validated the address of `peer`.
    pub(in crate::server) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_validated: bool,
    ) -> Result<ConnectionSlotGuard, Rejection> {
        let origin = Origin::of(peer);
        let mut counts = self.counts();
        if !is_validated && !counts.handshakes.accepts_unvalidated() {
            return Err(Rejection::Unvalidated);
        }
        if let Some(limit) = self.reached(&counts, origin) {
            return Err(Rejection::Full(limit));
        }
        if is_validated && !counts.handshakes.make_room(origin) {
            return Err(Rejection::Busy);
        }
        counts.connections += 1;
        *counts.by_address.entry(origin.address).or_default() += 1;
        *counts.by_network.entry(origin.network).or_default() += 1;
        let handshake = counts.handshakes.begin(is_validated.then_some(origin));
        Ok(ConnectionSlotGuard {
            owner: Arc::clone(self),
            origin,
            handshake: Some(handshake),
        })
    }

    /// Returns the limit that prevents another connection, if any.
    fn reached(&self, counts: &Counts, origin: Origin) -> Option<ReachedLimit> {
        let held = |counts: &HashMap<_, usize>, prefix| counts.get(&prefix).copied().unwrap_or(0);
        let of_address = held(&counts.by_address, origin.address);
        let of_network = held(&counts.by_network, origin.network);
        let free = self
            .limits
            .max_connections
            .saturating_sub(counts.connections);
        if free == 0 {
            Some(ReachedLimit::Connections)
        } else if of_address >= self.limits.max_connections_per_address {
            Some(ReachedLimit::ConnectionsPerAddress)
        } else if !admits(self.address_share.load(of_address), free) {
            Some(ReachedLimit::SharePerAddress)
        } else if !admits(self.network_share.load(of_network), free) {
            Some(ReachedLimit::SharePerNetwork)
        } else {
            None
        }
    }

    /// Logs that a connection was refused, at most once a second for each limit.
    pub(in crate::server) fn record_rejection(&self, client: SocketAddr, rejection: Rejection) {
        let limit = match rejection {
            // The server asks the client to validate its address and to connect again.
            Rejection::Unvalidated => return self.rejections.record_retry(client),
            Rejection::Full(limit) => limit,
            Rejection::Busy => ReachedLimit::Handshakes,
        };
        self.rejections.record(client, limit, &self.limits);
    }
}

impl ConnectionSlotGuard {
    pub(in crate::server) fn handshake_timeout(&self) -> Duration {
        self.owner.limits.handshake_timeout
    }

    /// Stops counting the handshake.
    pub(in crate::server) fn handshake_done(&mut self) {
        let mut counts = self.owner.counts();
        counts.end_handshake(&mut self.handshake);
    }

    /// Resolves when the handshake must make room for another one. The server then no longer counts the handshake.
    pub(in crate::server) async fn evicted(&self) {
        match &self.handshake {
            Some((_, evicted)) => evicted.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Logs that the handshake failed.
    pub(in crate::server) fn record_failed_handshake(
        &self,
        client: SocketAddr,
        kind: HandshakeFailure,
        reason: &dyn fmt::Display,
    ) {
        let log = &self.owner.rejections;
        log.record_failed_handshake(client, kind, reason);
    }

    /// Logs that the handshake made room for another one.
    pub(in crate::server) fn record_evicted(&self, client: SocketAddr) {
        self.owner.record_rejection(client, Rejection::Busy);
    }
}

impl Drop for ConnectionSlotGuard {
    fn drop(&mut self) {
        let mut counts = self.owner.counts();
        counts.end_handshake(&mut self.handshake);
        counts.connections -= 1;
        decrement(&mut counts.by_address, self.origin.address);
        decrement(&mut counts.by_network, self.origin.network);
    }
}

/// Decrements the count of `prefix`, and removes it at zero.
fn decrement(counts: &mut HashMap<IpAddr, usize>, prefix: IpAddr) {
    if let Some(count) = counts.get_mut(&prefix) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&prefix);
        }
    }
}

impl Counts {
    fn end_handshake(&mut self, handshake: &mut Option<(HandshakeKey, Arc<Notify>)>) {
        if let Some((key, _)) = handshake.take() {
            self.handshakes.end(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection_limits(limits: Limits) -> Arc<ConnectionLimits> {
        ConnectionLimits::new(limits, EventHook::default())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Admits a client with a validated address and ends its handshake.
    fn connect(
        limits: &Arc<ConnectionLimits>,
        peer: impl Into<IpAddr>,
    ) -> Result<ConnectionSlotGuard, ReachedLimit> {
        match limits.admit(peer.into(), true) {
            Ok(mut slot) => {
                slot.handshake_done();
                Ok(slot)
            }
            Err(Rejection::Full(limit)) => Err(limit),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn enter(
        limits: &Arc<ConnectionLimits>,
        peer: &str,
    ) -> Result<ConnectionSlotGuard, ReachedLimit> {
        connect(limits, ip(peer))
    }

    #[test]
    fn connections_per_address_are_limited_until_dropped() {
        let limits = connection_limits(Limits {
            max_connections_per_address: 2,
            ..Limits::default()
        });
        let full =
            || enter(&limits, "192.0.2.1").err() == Some(ReachedLimit::ConnectionsPerAddress);
        let first = enter(&limits, "192.0.2.1").unwrap();
        let second = enter(&limits, "192.0.2.1").unwrap();
        assert!(full());
        // The same address, as a dual-stack socket returns it.
        assert!(enter(&limits, "::ffff:192.0.2.1").is_err());
        let other = enter(&limits, "192.0.2.2").unwrap();
        drop(first);
        let third = enter(&limits, "192.0.2.1").unwrap();
        assert!(full());
        drop((second, third, other));
        assert!(is_empty(&limits));
    }

    fn is_empty(limits: &ConnectionLimits) -> bool {
        let counts = limits.counts();
        counts.connections == 0 && counts.by_address.is_empty() && counts.by_network.is_empty()
    }

    #[test]
    fn ipv6_network_of_64_bits_counts_as_one_address() {
        let limits = connection_limits(Limits {
            max_connections_per_address: 1,
            ..Limits::default()
        });
        let _first = enter(&limits, "2001:db8:0:1::1").unwrap();
        assert!(enter(&limits, "2001:db8:0:1:ffff:ffff:ffff:ffff").is_err());
        assert!(enter(&limits, "2001:db8:0:2::1").is_ok());
    }

    #[test]
    fn total_connections_are_limited_until_dropped() {
        let limits = connection_limits(Limits {
            max_connections: 2,
            ..Limits::default()
        });
        let _first = enter(&limits, "192.0.2.1").unwrap();
        let second = enter(&limits, "198.51.100.1").unwrap();
        let third = enter(&limits, "203.0.113.1");
        assert_eq!(third.err(), Some(ReachedLimit::Connections));
        drop(second);
        assert!(enter(&limits, "203.0.113.1").is_ok());
    }

    #[test]
    fn address_takes_its_share_of_all_connections() {
        let limits = connection_limits(Limits {
            max_connections: 100,
            max_connections_per_address: usize::MAX,
            ..Limits::default()
        });
        let of_one: Vec<_> = (0..50)
            .map(|_| enter(&limits, "192.0.2.1").unwrap())
            .collect();
        let more = enter(&limits, "192.0.2.1");
        assert_eq!(more.err(), Some(ReachedLimit::SharePerAddress));
        let _neighbour = enter(&limits, "192.0.2.2").unwrap();
        drop(of_one);
        assert!(enter(&limits, "192.0.2.1").is_ok());
    }

    /// Connects each peer until its connections are refused. Returns the connections.
    fn flood(
        limits: &Arc<ConnectionLimits>,
        peers: impl Iterator<Item = IpAddr>,
    ) -> Vec<ConnectionSlotGuard> {
        let each = peers.flat_map(|peer| std::iter::from_fn(move || connect(limits, peer).ok()));
        each.collect()
    }

    #[test]
    fn networks_take_their_share_of_all_connections() {
        // The addresses of each network could hold more connections in all than the default limit of the server.
        let of_ipv4 = |host| IpAddr::from([192, 0, 2, host]);
        let of_ipv6 = |subnet: u8| {
            let subnet = 0x1200 | u16::from(subnet);
            IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 0, 1])
        };
        let limits = connection_limits(Limits::default());
        let first = flood(&limits, (0..=255).map(of_ipv6));
        assert_eq!(first.len(), 7500);
        let more = enter(&limits, "2001:db8:0:12f0::5");
        assert_eq!(more.err(), Some(ReachedLimit::SharePerNetwork));
        let second = flood(&limits, (0..=255).map(of_ipv4));
        assert!(second.len() > 1000, "{}", second.len());
        for other in ["2001:db8:0:1300::1", "192.0.3.1", "198.51.100.1"] {
            let connected: Vec<_> = (0..16).map(|_| enter(&limits, other)).collect();
            assert!(connected.iter().all(Result::is_ok), "{other}");
        }
        drop((first, second));
        assert!(is_empty(&limits));
    }

    #[test]
    fn addresses_that_fill_their_limits_leave_connections_to_others() {
        let limits = connection_limits(Limits::default());
        let peers = (0..=255).map(|network| IpAddr::from([198, 51, network, 1]));
        let connections = flood(&limits, peers);
        assert!(connections.len() < 10_000);
        assert!(enter(&limits, "203.0.113.1").is_ok());
    }

    #[test]
    fn share_of_everything_limits_no_address() {
        let limits = connection_limits(Limits {
            max_connections: 10,
            max_percent_per_address: 100,
            max_percent_per_network: 100,
            ..Limits::default()
        });
        let connections = flood(&limits, std::iter::once(ip("192.0.2.1")));
        assert_eq!(connections.len(), 10);
    }

    #[test]
    fn handshakes_are_counted_until_done_or_dropped() {
        let limits = connection_limits(Limits {
            max_handshakes: 3,
            max_unvalidated_handshakes: 2,
            ..Limits::default()
        });
        let admit = |validated| limits.admit(ip("192.0.2.1"), validated);
        let mut first = admit(false).unwrap();
        let second = admit(false).unwrap();
        assert_eq!(admit(false).unwrap_err(), Rejection::Unvalidated);
        let third = admit(true).unwrap();
        assert_eq!(admit(true).unwrap_err(), Rejection::Busy);
        // Both limits are reached. A client without a validated address is asked to validate it first.
        assert_eq!(admit(false).unwrap_err(), Rejection::Unvalidated);
        first.handshake_done();
        let fourth = admit(false).unwrap();
        drop((first, second, third, fourth));
        let [first, second] = [(); 2].map(|()| admit(false).unwrap());
        assert_eq!(admit(false).unwrap_err(), Rejection::Unvalidated);
        drop((first, second));
        assert!(is_empty(&limits));
    }

    /// Returns `true` if the handshake was notified to make room.
    fn is_evicted(slot: &ConnectionSlotGuard) -> bool {
        let evicted = std::pin::pin!(slot.evicted());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        evicted.poll(&mut cx).is_ready()
    }

    #[test]
    fn oldest_stalled_handshake_of_an_address_makes_room_for_another_address() {
        let limits = connection_limits(Limits {
            max_handshakes: 3,
            ..Limits::default()
        });
        let stalled = [(); 3].map(|()| limits.admit(ip("192.0.2.1"), true).unwrap());
        let neighbour = limits.admit(ip("192.0.2.2"), true).unwrap();
        assert_eq!(stalled.each_ref().map(is_evicted), [true, false, false]);
        assert!(!is_evicted(&neighbour));
        // A handshake makes room only once, and its connection counts until it is dropped.
        for client in ["192.0.2.1", "192.0.2.2"] {
            let more = limits.admit(ip(client), true);
            assert_eq!(more.err(), Some(Rejection::Busy), "{client}");
        }
        assert_eq!(limits.counts().connections, 4);
        drop(stalled);
        let more = [(); 2].map(|()| limits.admit(ip("192.0.2.3"), true).unwrap());
        assert!(!is_evicted(&neighbour));
        drop((neighbour, more));
        assert!(is_empty(&limits));
    }
}
