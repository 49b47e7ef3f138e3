//! Limits connections: in total, by network, and during the handshake.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
use crate::sync::{Mutex, MutexGuard, lock};

#[derive(Debug)]
pub(in crate::server) struct ConnectionLimits {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    by_network: HashMap<IpAddr, usize>,
    handshakes: usize,
    /// Handshakes with unvalidated addresses, which may be forged.
    unproven: usize,
}

/// Why a connection is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Rejection {
    /// The client must validate its address first.
    Unproven,
    /// The number of connections is at a limit.
    Full,
    /// The number of handshakes is at the limit.
    Busy,
}

/// Counts one connection, from before its handshake until dropped.
#[derive(Debug)]
pub(in crate::server) struct ConnectionSlotGuard {
    owner: Arc<ConnectionLimits>,
    network: IpAddr,
    handshake: Option<AddressProof>,
}

/// Whether an address was validated before the handshake began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressProof {
    Proven,
    Unproven,
}

impl ConnectionLimits {
    pub(in crate::server) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    pub(in crate::server) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        is_proven: bool,
    ) -> Result<ConnectionSlotGuard, Rejection> {
        let network = network(address);
        let proof = match is_proven {
            true => AddressProof::Proven,
            false => AddressProof::Unproven,
        };
        let limits = &self.limits;
        let mut counts = self.counts();
        if counts.handshakes >= limits.handshakes {
            return Err(Rejection::Busy);
        }
        if !is_proven && counts.unproven >= limits.unproven_handshakes {
            return Err(Rejection::Unproven);
        }
        let neighbours = counts.by_network.get(&network).copied().unwrap_or(0);
        if counts.connections >= limits.connections || neighbours >= limits.connections_per_address
        {
            return Err(Rejection::Full);
        }
        counts.by_network.insert(network, neighbours + 1);
        counts.connections += 1;
        counts.handshakes += 1;
        counts.unproven += usize::from(!is_proven);
        Ok(ConnectionSlotGuard {
            owner: Arc::clone(self),
            network,
            handshake: Some(proof),
        })
    }
}

impl ConnectionSlotGuard {
    pub(in crate::server) fn handshake_timeout(&self) -> Duration {
        self.owner.limits.handshake_timeout
    }

    /// Ends the count of the handshake.
    pub(in crate::server) fn handshake_done(&mut self) {
        let mut counts = self.owner.counts();
        counts.end_handshake(&mut self.handshake);
    }
}

impl Drop for ConnectionSlotGuard {
    fn drop(&mut self) {
        let mut counts = self.owner.counts();
        counts.end_handshake(&mut self.handshake);
        counts.connections -= 1;
        if let Some(neighbours) = counts.by_network.get_mut(&self.network) {
            *neighbours -= 1;
            if *neighbours == 0 {
                counts.by_network.remove(&self.network);
            }
        }
    }
}

impl Counts {
    fn end_handshake(&mut self, handshake: &mut Option<AddressProof>) {
        if let Some(proof) = handshake.take() {
            self.handshakes -= 1;
            self.unproven -= usize::from(proof == AddressProof::Unproven);
        }
    }
}

/// Returns the network that one subscriber of a provider usually has: an IPv4 address, or an IPv6 network of 64 bits.
pub(in crate::server) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Admits a client with a validated address and ends its handshake.
    fn enter(limits: &Arc<ConnectionLimits>, address: &str) -> Option<ConnectionSlotGuard> {
        match limits.admit(ip(address), true) {
            Ok(mut slot) => {
                slot.handshake_done();
                Some(slot)
            }
            Err(reason) => {
                assert_eq!(reason, Rejection::Full);
                None
            }
        }
    }

    #[test]
    fn connections_per_address_are_limited_until_dropped() {
        let limits = ConnectionLimits::new(Limits {
            connections_per_address: 2,
            ..Limits::default()
        });
        let first = enter(&limits, "192.0.2.1").unwrap();
        let second = enter(&limits, "192.0.2.1").unwrap();
        assert!(enter(&limits, "192.0.2.1").is_none());
        // The same address, as a dual-stack socket writes it.
        assert!(enter(&limits, "::ffff:192.0.2.1").is_none());
        let other = enter(&limits, "192.0.2.2").unwrap();
        drop(first);
        let third = enter(&limits, "192.0.2.1").unwrap();
        assert!(enter(&limits, "192.0.2.1").is_none());
        drop((second, third, other));
        assert!(limits.counts().by_network.is_empty());
        assert_eq!(limits.counts().connections, 0);
    }

    #[test]
    fn ipv6_network_of_64_bits_counts_as_one_address() {
        let limits = ConnectionLimits::new(Limits {
            connections_per_address: 1,
            ..Limits::default()
        });
        let _first = enter(&limits, "2001:db8:0:1::1").unwrap();
        assert!(enter(&limits, "2001:db8:0:1:ffff:ffff:ffff:ffff").is_none());
        assert!(enter(&limits, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn total_connections_are_limited_until_dropped() {
        let limits = ConnectionLimits::new(Limits {
            connections: 2,
            ..Limits::default()
        });
        let _first = enter(&limits, "192.0.2.1").unwrap();
        let second = enter(&limits, "192.0.2.2").unwrap();
        assert!(enter(&limits, "192.0.2.3").is_none());
        drop(second);
        assert!(enter(&limits, "192.0.2.3").is_some());
    }

    #[test]
    fn handshakes_are_counted_until_done_or_dropped() {
        let limits = ConnectionLimits::new(Limits {
            handshakes: 3,
            unproven_handshakes: 2,
            ..Limits::default()
        });
        let admit = |proven| limits.admit(ip("192.0.2.1"), proven);
        let mut first = admit(false).unwrap();
        let second = admit(false).unwrap();
        assert_eq!(admit(false).unwrap_err(), Rejection::Unproven);
        let third = admit(true).unwrap();
        assert_eq!(admit(true).unwrap_err(), Rejection::Busy);
        assert_eq!(admit(false).unwrap_err(), Rejection::Busy);
        first.handshake_done();
        assert!(admit(false).is_ok());
        drop((first, second, third));
        assert_eq!(limits.counts().handshakes, 0);
        assert_eq!(limits.counts().unproven, 0);
    }
}
