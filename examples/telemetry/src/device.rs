//! A device: it measures, and keeps every reading until the server says that it is stored.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::CallError;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::api::{Reading, TelemetryClient, TelemetryError, now};
use crate::link::PAUSE;

/// Readings that a device has room for. A device that keeps them on a disk has room for more, and survives itself.
const ROOM: usize = 100_000;

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Readings in a second.
    pub rate: f64,
    /// How many it makes before it stops; without it, it goes on for ever.
    pub count: Option<u64>,
}

/// What a device tells of itself.
#[derive(Debug)]
pub enum Event {
    /// The server has stored its readings up to this number.
    Acknowledged(u64),
    /// It will try again.
    CutOff(CallError<TelemetryError>),
}

/// Why a device stops.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The server had a reading, and has it no more.
    #[error("reading {acknowledged} was acknowledged, and the server has them up to {stored}")]
    Forgotten {
        /// The last that the server had.
        acknowledged: u64,
        /// The last that it has.
        stored: u64,
    },
    /// The server refuses what the device sends.
    #[error("refused: {0}")]
    Refused(#[from] TelemetryError),
}

/// Readings that are not known to be stored.
#[derive(Debug)]
struct Outbox {
    /// The number of the last that is stored.
    acknowledged: u64,
    readings: VecDeque<Reading>,
    /// Whether there will be no more.
    is_complete: bool,
}

impl Outbox {
    fn next_number(&self) -> u64 {
        self.acknowledged + 1 + self.readings.len() as u64
    }

    /// The first reading from this number on.
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
    /// When going on makes no sense.
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

    /// Makes a reading now and then.
    async fn measure(&self, outbox: &watch::Sender<Outbox>) {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / self.rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut room = outbox.subscribe();
        loop {
            ticks.tick().await;
            // The sender is the caller's.
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

    /// Sends what is not acknowledged, again after each time that it was cut off.
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
                // The first may tell nothing new.
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
            // The server is going down in good order, or already gone.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Everything in the outbox, and what will come into it.
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

/// Waits before the next attempt, if that may help.
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

/// What a device of this name reads: waves, and some noise. Always the same, so that it can be checked.
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
