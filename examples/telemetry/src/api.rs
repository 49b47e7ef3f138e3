//! The service that devices and watchers call, and its types.

use std::time::{SystemTime, UNIX_EPOCH};

use rpc_runtime::broadcast::Lagged;
use rpc_runtime::{RpcError, Stream, rpc};
use serde::{Deserialize, Serialize};

/// The length of a window, in milliseconds.
pub const WINDOW: u64 = 1_000;

/// A measurement of a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The number of the reading. A device numbers its readings from 1, without gaps.
    pub number: u64,
    /// The time of the reading, in milliseconds since 1970.
    pub at: u64,
    /// The measured value.
    pub value: f64,
}

/// The readings of a device in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The name of the device.
    pub device: String,
    /// The start of the window, in milliseconds since 1970; a multiple of [`WINDOW`].
    pub start: u64,
    /// The number of readings so far. Of two versions of a window, the version with more readings is newer.
    pub count: u64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The sum of all values.
    pub sum: f64,
}

impl Window {
    /// Returns the mean of the values.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// The service.
#[rpc(namespace = "telemetry")]
pub trait Telemetry {
    /// Returns the number of the device's last stored reading, or 0 if there is none. The device continues after it when it
    /// restarts.
    #[rpc(idempotent)]
    async fn stored(&self, device: &str) -> Result<u64, TelemetryError>;

    /// Receives readings. Each item of the response is the number up to which they are stored durably. The first item is
    /// sent at once.
    ///
    /// The device sends readings that were not acknowledged again on the next connection. The server skips readings that
    /// it has stored.
    fn report(
        &self,
        device: &str,
        readings: impl Stream<Item = Reading>,
    ) -> impl Stream<Item = Result<u64, TelemetryError>>;

    /// Returns the readings of a device from the number `first` to the number `last`, both included.
    fn history(
        &self,
        device: &str,
        first: u64,
        last: u64,
    ) -> impl Stream<Item = Result<Reading, TelemetryError>>;

    /// Returns the windows of all devices that started at `since` or later, and then every window that changes.
    ///
    /// A watcher that was disconnected or too slow calls again, and receives the windows as they are at that time.
    fn live(&self, since: u64) -> impl Stream<Item = Result<Window, TelemetryError>>;
}

/// An error of the service.
#[derive(Debug, Clone, PartialEq, thiserror::Error, RpcError)]
pub enum TelemetryError {
    /// A name has 1 to 32 letters, digits, dashes and underscores.
    #[error("a device's name has 1 to 32 letters, digits, dashes and underscores")]
    #[rpc(code = 1)]
    Name,
    /// A reading is missing.
    #[error("reading {expected} is missing")]
    #[rpc(code = 2)]
    Gap {
        /// The number of the missing reading.
        expected: u64,
    },
    /// The watcher is too slow.
    #[error(transparent)]
    #[rpc(code = 3)]
    Lagged(#[from] Lagged),
    /// The database failed.
    #[error("the server cannot use its database")]
    #[rpc(code = 4)]
    Storage,
}

/// Returns the current time, in milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
