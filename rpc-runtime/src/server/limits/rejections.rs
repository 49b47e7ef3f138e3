//! Logs refused connections and failed handshakes, at most one line a second for each limit and for failures.

use std::fmt;
use std::net::SocketAddr;

use tokio::time::Instant;

use crate::codec::escape::Escaped;
use crate::event::{Event, EventHook, HandshakeFailure, Limit};
use crate::event_limit::EventLimit;
use crate::limits::Limits;
use crate::sync::{Mutex, lock};

/// A limit that prevents a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum ReachedLimit {
    Connections,
    ConnectionsPerAddress,
    SharePerAddress,
    SharePerNetwork,
    Handshakes,
}

impl ReachedLimit {
    const COUNT: usize = 5;

    /// Returns the name of the field of [`Limits`], and its value.
    fn setting(self, limits: &Limits) -> (&'static str, usize) {
        match self {
            Self::Connections => ("max_connections", limits.max_connections),
            Self::ConnectionsPerAddress => (
                "max_connections_per_address",
                limits.max_connections_per_address,
            ),
            Self::SharePerAddress => ("max_percent_per_address", limits.max_percent_per_address),
            Self::SharePerNetwork => ("max_percent_per_network", limits.max_percent_per_network),
            Self::Handshakes => ("max_handshakes", limits.max_handshakes),
        }
    }
}

/// Counts the refused connections of each limit, and failed handshakes.
#[derive(Debug, Default)]
pub(super) struct RejectionLog {
    events: EventHook,
    rejections: Mutex<[EventLimit; ReachedLimit::COUNT]>,
    failed_handshakes: Mutex<EventLimit>,
}

impl RejectionLog {
    pub(super) fn new(events: EventHook) -> Self {
        Self {
            events,
            ..Self::default()
        }
    }

    /// Reports that a client must validate its address, which is no refusal and is not logged.
    pub(super) fn record_retry(&self, client: SocketAddr) {
        self.events.emit(&Event::RetrySent { peer: client });
    }

    /// Counts a refused connection, and logs it unless the last line is too recent.
    pub(super) fn record(&self, client: SocketAddr, limit: ReachedLimit, limits: &Limits) {
        let (name, value) = limit.setting(limits);
        self.events.emit(&Event::ConnectionRefused {
            peer: client,
            limit: Limit::new(name, value),
        });
        let mut counts = lock(&self.rejections);
        let count = &mut counts[limit as usize];
        let Some(refused) = count.add(Instant::now()) else {
            return;
        };
        let total = count.total;
        drop(counts);
        let (limit, setting) = (name, value);
        tracing::warn!(
            target: "rpc_runtime::server", %client, limit, setting, refused, total, "connections refused"
        );
    }

    /// Counts a failed handshake, and logs it if the last line is not too recent.
    pub(super) fn record_failed_handshake(
        &self,
        client: SocketAddr,
        kind: HandshakeFailure,
        reason: &dyn fmt::Display,
    ) {
        self.events.emit(&Event::HandshakeFailed {
            peer: client,
            reason: kind,
        });
        let mut count = lock(&self.failed_handshakes);
        let Some(failed) = count.add(Instant::now()) else {
            return;
        };
        let total = count.total;
        drop(count);
        tracing::warn!(
            target: "rpc_runtime::server", %client, reason = %Escaped(reason), failed, total, "handshakes failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_names_its_setting() {
        let limits = Limits {
            max_connections: 1,
            max_connections_per_address: 2,
            max_percent_per_address: 3,
            max_percent_per_network: 4,
            max_handshakes: 5,
            ..Limits::default()
        };
        for (limit, setting) in [
            (ReachedLimit::Connections, ("max_connections", 1)),
            (
                ReachedLimit::ConnectionsPerAddress,
                ("max_connections_per_address", 2),
            ),
            (
                ReachedLimit::SharePerAddress,
                ("max_percent_per_address", 3),
            ),
            (
                ReachedLimit::SharePerNetwork,
                ("max_percent_per_network", 4),
            ),
            (ReachedLimit::Handshakes, ("max_handshakes", 5)),
        ] {
            assert_eq!(limit.setting(&limits), setting);
            assert!((limit as usize) < ReachedLimit::COUNT);
        }
    }
}
