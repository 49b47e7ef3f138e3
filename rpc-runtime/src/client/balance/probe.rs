//! Ejects a server whose calls fail, and probes it until it answers again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::client::balance::outlier::{Ejection, OutlierDetector};
use crate::client::error::CallError;
use crate::client::handle::Client;
use crate::client::reconnect::ConnectionSlot;
use crate::codec::error_code::code;

/// Time limit for the reply to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ejects a server whose calls fail, and readmits it when it answers a probe. Returns `None` when the client has been
/// dropped.
pub(in crate::client) async fn eject_outlier(
    detector: &OutlierDetector,
    slot: &ConnectionSlot,
) -> Option<()> {
    let Ejection { probes, .. } = detector.ejection;
    let mut ejections = 0;
    loop {
        let since = Instant::now();
        detector.has_too_many_failures().await;
        // The count is kept for a server that soon fails again, so that its probes become less frequent.
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

/// Returns `true` if the server answers `rpc.ping`, even with the error that it has no such method.
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
