//! Ejects a server when its calls fail, and probes it until it answers again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::balance::outlier::{Ejection, OutlierDetector};
use crate::client::error::CallError;
use crate::client::handle::Client;
use crate::client::reconnect::ConnectionSlot;
use crate::codec::error_code::code;

/// How long the reply to a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ejects a server when its calls fail, and takes it back when it answers. Returns `None` when the client is gone.
pub(in crate::client) async fn eject_outlier(
    detector: &OutlierDetector,
    slot: &ConnectionSlot,
) -> Option<()> {
    let Ejection { probes, .. } = detector.ejection;
    let mut ejections = 0;
    loop {
        let since = Instant::now();
        detector.has_too_many_failures().await;
        // A server that answers only probes is probed at longer and longer intervals.
        if since.elapsed() > probes.max {
            ejections = 0;
        }
        slot.set_ejected(true)?;
        loop {
            ejections += 1;
            sleep(probes.delay(ejections)).await;
            if answers(slot).await? {
                break;
            }
        }
        detector.record_success();
        slot.set_ejected(false)?;
    }
}

/// Whether the server answers `rpc.ping`, possibly with the error that it has no such method.
async fn answers(slot: &ConnectionSlot) -> Option<bool> {
    let Some(connection) = slot.connection()? else {
        return Some(false);
    };
    let ping = Client::sharing(connection).call::<(), _>("rpc.ping", &());
    let answer = ping.timeout(PROBE_TIMEOUT).no_retry().await;
    Some(match answer {
        Ok(()) => true,
        Err(CallError::Remote(error)) => error.code() == code::METHOD_NOT_FOUND,
        Err(_) => false,
    })
}
