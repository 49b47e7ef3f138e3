//! A device. It measures, and keeps every reading until the server has acknowledged that it is stored.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::CallError;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::api::{Reading, TelemetryClient, TelemetryError, now};
use crate::link::PAUSE;

/// The maximum number of readings that a device keeps. A device that keeps them on a disk would have room for more, and
/// would keep them across its own restarts.
const ROOM: usize = 100_000;

/// A device that measures at a constant rate.
#[derive(Debug, Clone)]
pub struct Device {
    /// The name of the device.
    pub name: String,
    /// The number of readings per second.
    pub rate: f64,
    /// The number of readings after which the device stops. With `None` it never stops.
    pub count: Option<u64>,
}

/// An event that a device reports.
#[derive(Debug)]
pub enum Event {
    /// The server has stored its readings up to this number.
    Acknowledged(u64),
    /// A call failed, and the device will try again.
    CutOff(CallError<TelemetryError>),
}

/// An error that stops a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The server has lost a reading that it had acknowledged.
    #[error("reading {acknowledged} was acknowledged, and the server has them up to {stored}")]
    Forgotten {
        /// The number of the last reading that the server acknowledged.
        acknowledged: u64,
        /// The number of the last reading that the server has.
        stored: u64,
    },
    /// The server rejects what the device sends.
    #[error("refused: {0}")]
    Refused(#[from] TelemetryError),
}

/// Readings that are not known to be stored.
#[derive(Debug)]
struct Outbox {
    /// The number of the last reading that is stored.
    acknowledged: u64,
    readings: VecDeque<Reading>,
    /// `true` if there will be no more readings.
    is_complete: bool,
}

impl Outbox {
    fn next_number(&self) -> u64 {
        self.acknowledged + 1 + self.readings.len() as u64
    }

    /// Returns the first reading with this number or a higher one.
    fn first_from(&self, number: u64) -> Option<Reading> {
        let skipped = number.saturating_sub(self.acknowledged + 1);
        self.readings.get(usize::try_from(skipped).ok()?).copied()
    }

    fn acknowledge(&mut self, stored: u64) {
        let done = stored.saturating_sub(self.acknowledged) as usize;
        self.readings.drain(..done.min(self.readings.len()));
        self.acknowledged = self.acknowledged.max(stored);
    }
}

impl Device {
    /// Measures and reports until all `count` readings are stored.
    ///
    /// # Errors
    /// When another attempt cannot succeed.
    pub async fn run(
        &self,
        telemetry: &TelemetryClient,
        mut tell: impl FnMut(Event),
    ) -> Result<(), DeviceError> {
        let stored = loop {
            match telemetry.stored(&self.name).await {
                Ok(stored) => break stored,
                Err(error) => pause_after(error, &mut tell).await?,
            }
        };
        let outbox = watch::Sender::new(Outbox {
            acknowledged: stored,
            readings: VecDeque::new(),
            is_complete: false,
        });
        tokio::select! {
            () = self.measure(&outbox) => unreachable!("it waits for its end"),
            reported = self.report(telemetry, &outbox, &mut tell) => reported,
        }
    }

    /// Makes readings at the device's rate. Never returns.
    async fn measure(&self, outbox: &watch::Sender<Outbox>) {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut room = outbox.subscribe();
        loop {
            ticks.tick().await;
            // The caller holds the sender, so that this does not fail.
            let _ = room.wait_for(|outbox| outbox.readings.len() < ROOM).await;
            let number = outbox.borrow().next_number();
            if self.count.is_some_and(|count| number > count) {
                outbox.send_modify(|outbox| outbox.is_complete = true);
                return std::future::pending().await;
            }
            let reading = Reading {
                number,
                at: now(),
                value: value(&self.name, number),
            };
            outbox.send_modify(|outbox| outbox.readings.push_back(reading));
        }
    }

    /// Sends the readings that are not acknowledged, and sends them again each time that the call ends early.
    async fn report(
        &self,
        telemetry: &TelemetryClient,
        outbox: &watch::Sender<Outbox>,
        tell: &mut impl FnMut(Event),
    ) -> Result<(), DeviceError> {
        loop {
            let mut answers = telemetry.report(&self.name, readings(outbox.subscribe()));
            let mut is_first = true;
            while let Some(answer) = answers.next().await {
                let stored = match answer {
                    Ok(stored) => stored,
                    Err(error) => {
                        pause_after(error, tell).await?;
                        break;
                    }
                };
                let known = outbox.borrow().acknowledged;
                if stored < known {
                    return Err(DeviceError::Forgotten {
                        acknowledged: known,
                        stored,
                    });
                }
                outbox.send_modify(|outbox| outbox.acknowledge(stored));
                // The first acknowledgement is reported even if it is not new.
                if stored > known || is_first {
                    tell(Event::Acknowledged(stored));
                }
                is_first = false;
            }
            let is_done = {
                let outbox = outbox.borrow();
                outbox.is_complete && outbox.readings.is_empty()
            };
            if is_done {
                return Ok(());
            }
            // The server is shutting down, or has ended.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Returns all readings in the outbox, and those that are added to it.
fn readings(outbox: watch::Receiver<Outbox>) -> impl Stream<Item = Reading> + Send + 'static {
    stream::unfold((outbox, 0), async |(mut outbox, next)| {
        let found = |outbox: &Outbox| outbox.is_complete || outbox.first_from(next).is_some();
        let reading = outbox
            .wait_for(|outbox| found(outbox))
            .await
            .ok()?
            .first_from(next)?;
        Some((reading, (outbox, reading.number + 1)))
    })
}

/// Reports the error, and waits before the next attempt.
///
/// # Errors
/// When another attempt cannot succeed.
async fn pause_after(
    error: CallError<TelemetryError>,
    tell: &mut impl FnMut(Event),
) -> Result<(), DeviceError> {
    match error {
        CallError::Application(error @ (TelemetryError::Name | TelemetryError::Gap { .. })) => {
            return Err(error.into());
        }
        other => tell(Event::CutOff(other)),
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// Returns the value of a reading of the device with this name: waves, and some noise. It is always the same, so that it
/// can be checked.
pub fn value(device: &str, number: u64) -> f64 {
    let mixed = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let kind = device.bytes().fold(0xcbf2_9ce4_8422_2325, mixed);
    let noise = number.to_le_bytes().into_iter().fold(kind, mixed);
    let part = |bits: u64, of: u64| (bits >> 17) as f64 % of as f64 / of as f64;
    let (level, swing, slow) = (
        20.0 + 60.0 * part(kind, 97),
        4.0 + 8.0 * part(kind, 89),
        150.0 + 300.0 * part(kind, 83),
    );
    let turn = number as f64 / slow;
    let wave = (TAU * turn).sin() + 0.3 * (TAU * 3.7 * turn).sin();
    let value = level + swing * wave + part(noise, 101) - 0.5;
    (value * 100.0).round() / 100.0
}
