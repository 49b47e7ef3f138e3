//! Notices that a server has gone silent, long before its connection is given up for that: new calls go to others as long as
//! it is. What waits there goes on waiting, since it may only be the network that is slow.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::reconnect::ConnectionSlot;

/// How often to look.
const LOOK: Duration = Duration::from_millis(200);

/// How long nothing has to come, at least, and how many of its round trips that is, at least.
const SILENCE: Duration = Duration::from_millis(500);
const ROUND_TRIPS: u32 = 3;

/// How many datagrams must have left meanwhile: the one that should have been acknowledged, and one that asks again.
const ASKED: u64 = 2;

/// Looks for as long as there is a client. `None`: it is no more.
pub(in crate::client) async fn watch(slot: &ConnectionSlot) -> Option<()> {
    // What had come and left when something came last.
    let (mut received, mut sent, mut since) = (0, 0, Instant::now());
    loop {
        sleep(LOOK).await;
        let Some(connection) = slot.connection()? else {
            continue;
        };
        let Some(traffic) = connection.transport.traffic() else {
            continue;
        };
        if traffic.received != received {
            (received, sent, since) = (traffic.received, traffic.sent, Instant::now());
            connection.set_stalled(false);
        } else if connection.in_flight() == 0 {
            // One that is asked nothing says nothing.
            since = Instant::now();
        } else {
            let patience = SILENCE.max(traffic.round_trip * ROUND_TRIPS);
            if since.elapsed() >= patience && traffic.sent >= sent + ASKED {
                connection.set_stalled(true);
            }
        }
    }
}
