//! Chooses which of several servers takes a call: of two servers chosen at random, the server with fewer calls in flight.
//!
//! This power of two choices spreads calls almost as well as comparing all servers would. It does not make all callers
//! choose the same server at once.

use std::sync::Arc;

use crate::client::connection::ClientConnection;

/// Returns a connection that takes calls; not `failed`, if there is another.
#[inline]
pub(in crate::client) fn pick<'a>(
    connections: &'a [Arc<ClientConnection>],
    failed: Option<&Arc<ClientConnection>>,
) -> Option<&'a Arc<ClientConnection>> {
    match connections {
        [only] => {
            let has_failed = failed.is_some_and(|failed| Arc::ptr_eq(only, failed));
            (!has_failed || !only.is_retired()).then_some(only)
        }
        [] => None,
        several => pick_of(several, failed),
    }
}

fn pick_of<'a>(
    connections: &'a [Arc<ClientConnection>],
    failed: Option<&Arc<ClientConnection>>,
) -> Option<&'a Arc<ClientConnection>> {
    let is_fit = |connection: &Arc<ClientConnection>| {
        let has_failed = failed.is_some_and(|failed| Arc::ptr_eq(connection, failed));
        !(has_failed || connection.is_retired() || connection.is_stalled())
    };
    let (first, second) = two(connections);
    match (is_fit(first), is_fit(second)) {
        (true, true) if second.in_flight() < first.in_flight() => Some(second),
        (true, _) => Some(first),
        (false, true) => Some(second),
        (false, false) => {
            let fit = connections.iter().find(|connection| is_fit(connection));
            fit.or_else(|| connections.iter().find(|other| !other.is_retired()))
        }
    }
}

/// Returns two different connections, each pair with the same probability.
fn two(connections: &[Arc<ClientConnection>]) -> (&Arc<ClientConnection>, &Arc<ClientConnection>) {
    let first = fastrand::usize(..connections.len());
    let second = fastrand::usize(..connections.len() - 1);
    let second = second + usize::from(second >= first);
    (&connections[first], &connections[second])
}
