//! The server: conversations with devices, the history of readings, and the live view.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rpc_runtime::Broadcast;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::{Reading, Telemetry, TelemetryError, Window};
use crate::recorder::Recorder;
use crate::store::{Arrival, Store, StoreError};

/// The maximum number of changed windows that wait for a watcher.
const LAG: usize = 1_024;

/// The maximum number of readings that are read from the database at once.
const PAGE: usize = 512;

/// The service, which all connections share.
#[derive(Debug)]
pub struct Station {
    store: Arc<Store>,
    recorder: Recorder,
    live: Broadcast<Window>,
    stopping: CancellationToken,
}

/// Asks a [`Station`] to end its calls.
#[derive(Debug)]
pub struct Stop {
    live: Broadcast<Window>,
    stopping: CancellationToken,
}

impl Stop {
    /// Stops receiving readings, acknowledges those that were received, and ends the live views. Then all calls end by
    /// themselves.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.live.close();
    }
}

impl Station {
    /// Creates a service over `store`, what stops it, and the future that stores readings. The future ends when the service
    /// is dropped and everything is stored.
    pub fn new(
        store: Store,
    ) -> (
        Self,
        Stop,
        impl Future<Output = Result<(), StoreError>> + Send,
    ) {
        let (store, live) = (Arc::new(store), Broadcast::new());
        let (recorder, recording) = Recorder::new(Arc::clone(&store), live.clone());
        let stopping = CancellationToken::new();
        let stop = Stop {
            live: live.clone(),
            stopping: stopping.clone(),
        };
        let station = Self {
            store,
            recorder,
            live,
            stopping,
        };
        (station, stop, recording)
    }

    /// Queries the database, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, TelemetryError> {
        let store = Arc::clone(&self.store);
        let answer = tokio::task::spawn_blocking(move || question(&store)).await;
        let answer = answer.map_err(|_| TelemetryError::Storage)?;
        answer.map_err(|error| {
            eprintln!("the database failed: {error}");
            TelemetryError::Storage
        })
    }

    /// Returns some readings and the number of the next, or `None` after the last reading.
    async fn page(
        &self,
        device: &str,
        numbers: RangeInclusive<u64>,
    ) -> Result<Option<(Vec<Reading>, u64)>, TelemetryError> {
        let device = Arc::<str>::from(device);
        let page = self.ask(move |store| store.readings(&device, numbers, PAGE));
        let page = page.await?;
        let next = page.last().map(|reading| reading.number + 1);
        Ok(next.map(|next| (page, next)))
    }

    async fn converse<R>(
        &self,
        device: &str,
        readings: R,
    ) -> Result<Conversation<'_, R>, TelemetryError> {
        let device = name(device)?;
        let asked = Arc::clone(&device);
        let stored = self.ask(move |store| store.last_number(&asked)).await?;
        let mut numbers = self.recorder.follow(&device, stored);
        let stored = *numbers.borrow();
        // The first acknowledgement is sent at once.
        numbers.mark_changed();
        Ok(Conversation {
            station: self,
            device,
            readings: Some(Box::pin(readings)),
            numbers,
            taken: stored,
            acknowledged: 0,
        })
    }
}

fn name(device: &str) -> Result<Arc<str>, TelemetryError> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match (1..=32).contains(&device.len()) && device.bytes().all(is_fine) {
        true => Ok(device.into()),
        false => Err(TelemetryError::Name),
    }
}

/// A call of `report`, which receives readings and sends acknowledgements.
struct Conversation<'a, R> {
    station: &'a Station,
    device: Arc<str>,
    /// `None` after the last reading.
    readings: Option<Pin<Box<R>>>,
    /// The number up to which readings are stored.
    numbers: watch::Receiver<u64>,
    /// The number up to which readings were received.
    taken: u64,
    acknowledged: u64,
}

impl<R: Stream<Item = Reading>> Conversation<'_, R> {
    /// Returns the next acknowledgement. Receives readings while it waits for the disk.
    async fn next(&mut self) -> Result<Option<u64>, TelemetryError> {
        let station = self.station;
        while self.readings.is_some() || self.acknowledged < self.taken {
            tokio::select! {
                stored = self.numbers.changed() => {
                    stored.map_err(|_| TelemetryError::Storage)?;
                    self.acknowledged = *self.numbers.borrow_and_update();
                    return Ok(Some(self.acknowledged));
                }
                reading = next(&mut self.readings) => match reading {
                    Some(reading) => self.take(reading).await?,
                    None => self.readings = None,
                },
                () = station.stopping.cancelled(), if self.readings.is_some() => {
                    self.readings = None;
                }
            }
        }
        Ok(None)
    }

    async fn take(&mut self, reading: Reading) -> Result<(), TelemetryError> {
        let expected = self.taken + 1;
        if reading.number > expected {
            return Err(TelemetryError::Gap { expected });
        }
        self.taken = self.taken.max(reading.number);
        let device = Arc::clone(&self.device);
        let arrival = Arrival { device, reading };
        self.station.recorder.record(arrival).await
    }
}

/// Returns the next reading, or `None` when they end. Never returns if `readings` is `None`.
async fn next<R: Stream>(readings: &mut Option<Pin<Box<R>>>) -> Option<R::Item> {
    match readings {
        Some(readings) => readings.next().await,
        None => std::future::pending().await,
    }
}

impl Telemetry for Station {
    async fn stored(&self, device: &str) -> Result<u64, TelemetryError> {
        let device = name(device)?;
        self.ask(move |store| store.last_number(&device)).await
    }

    fn report(
        &self,
        device: &str,
        readings: impl Stream<Item = Reading> + Send,
    ) -> impl Stream<Item = Result<u64, TelemetryError>> + Send {
        let conversation = stream::once(self.converse(device, readings));
        conversation
            .map_ok(|conversation| {
                stream::try_unfold(conversation, async |mut conversation| {
                    let number = conversation.next().await?;
                    Ok(number.map(|number| (number, conversation)))
                })
            })
            .try_flatten()
    }

    fn history(
        &self,
        device: &str,
        first: u64,
        last: u64,
    ) -> impl Stream<Item = Result<Reading, TelemetryError>> + Send {
        let pages = stream::try_unfold(first, move |first| self.page(device, first..=last));
        let pages = pages.map_ok(|page| stream::iter(page).map(Ok));
        pages.try_flatten()
    }

    fn live(&self, since: u64) -> impl Stream<Item = Result<Window, TelemetryError>> + Send {
        // Subscribes first, so that a window that changes meanwhile is sent twice and not missed.
        let changes = self.live.subscribe_or_end(LAG);
        let stored = stream::once(self.ask(move |store| store.windows(since)));
        stored
            .map_ok(|windows| stream::iter(windows).map(Ok))
            .try_flatten()
            .chain(changes)
    }
}
