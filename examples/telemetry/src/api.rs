//! What devices, watchers and the server say to each other.

use std::time::{SystemTime, UNIX_EPOCH};

use rpc_runtime::broadcast::Lagged;
use rpc_runtime::{RpcError, Stream, rpc};
use serde::{Deserialize, Serialize};

/// How long a window is, in milliseconds.
pub const WINDOW: u64 = 1_000;

/// What a device measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// A device numbers its readings from 1, without gaps.
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: u64,
    /// What it read.
    pub value: f64,
}

/// The readings of a device in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Whose they are.
    pub device: String,
    /// Milliseconds since 1970, a multiple of [`WINDOW`].
    pub start: u64,
    /// How many there are so far. Of two states of a window the one with more readings is the newer.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// All of them together.
    pub sum: f64,
}

impl Window {
    /// Their mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// The service.
#[rpc(namespace = "telemetry")]
pub trait Telemetry {
    /// The number of the device's last reading that is stored: where it goes on after a restart. 0 if there is none.
    #[rpc(idempotent)]
    async fn stored(&self, device: &str) -> Result<u64, TelemetryError>;

    /// Takes readings. Each answer is the number up to which they are stored for good; the first comes at once. What was
    /// not acknowledged is sent again on the next connection; the server leaves out what it has.
    fn report(
        &self,
        device: &str,
        readings: impl Stream<Item = Reading>,
    ) -> impl Stream<Item = Result<u64, TelemetryError>>;

    /// The readings of a device from one number to another, both included.
    fn history(
        &self,
        device: &str,
        first: u64,
        last: u64,
    ) -> impl Stream<Item = Result<Reading, TelemetryError>>;

    /// The windows of all devices that started at `since` or later, and then whatever changes. Whoever was cut off or too
    /// slow calls again and has them as they are now.
    fn live(&self, since: u64) -> impl Stream<Item = Result<Window, TelemetryError>>;
}

/// What goes wrong.
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
        /// Its number.
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

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
