//! Group commit: while one transaction is written to disk, the readings of all devices are gathered for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rpc_runtime::Broadcast;
use tokio::sync::{mpsc, watch};

use crate::api::{TelemetryError, Window};
use crate::store::{Arrival, Changes, Store, StoreError};

/// The maximum number of readings that wait for the next transaction, and that a transaction takes. When it is reached,
/// devices wait, too.
const GROUP: usize = 4_096;

/// Receives readings, and stores them in groups.
#[derive(Debug)]
pub struct Recorder {
    arrivals: mpsc::Sender<Arrival>,
    numbers: Arc<Numbers>,
}

/// The number of each device's last stored reading, with a channel that reports its changes.
#[derive(Debug, Default)]
struct Numbers(Mutex<HashMap<Arc<str>, watch::Sender<u64>>>);

impl Recorder {
    /// Creates a recorder, and the future that does its work. The future ends when the recorder is dropped and everything
    /// is stored. It sends windows that have changed to `live`.
    pub fn new(
        store: Arc<Store>,
        live: Broadcast<Window>,
    ) -> (Self, impl Future<Output = Result<(), StoreError>> + Send) {
        let (arrivals, arrived) = mpsc::channel(GROUP);
        let numbers = Arc::default();
        let work = record(store, arrived, Arc::clone(&numbers), live);
        (Self { arrivals, numbers }, work)
    }

    /// Queues a reading for the next transaction. Waits while the queue is full.
    ///
    /// # Errors
    /// When the database has failed.
    pub async fn record(&self, arrival: Arrival) -> Result<(), TelemetryError> {
        let handed_in = self.arrivals.send(arrival).await;
        handed_in.map_err(|_| TelemetryError::Storage)
    }

    /// Returns a receiver of the number of the device's last stored reading. `stored` is the number in the database.
    pub fn follow(&self, device: &Arc<str>, stored: u64) -> watch::Receiver<u64> {
        let mut numbers = self.numbers.lock();
        let number = numbers
            .entry(Arc::clone(device))
            .or_insert_with(|| watch::Sender::new(stored));
        number.subscribe()
    }
}

impl Numbers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn record(
    store: Arc<Store>,
    mut arrived: mpsc::Receiver<Arrival>,
    numbers: Arc<Numbers>,
    live: Broadcast<Window>,
) -> Result<(), StoreError> {
    let mut group = Vec::new();
    while arrived.recv_many(&mut group, GROUP).await > 0 {
        let store = Arc::clone(&store);
        let commit = move || {
            let changes = store.commit(&group)?;
            group.clear();
            Ok::<_, StoreError>((group, changes))
        };
        let changes;
        (group, changes) = match tokio::task::spawn_blocking(commit).await {
            Ok(committed) => committed?,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        };
        publish(changes, &numbers, &live).await;
    }
    Ok(())
}

/// Acknowledges the readings that are stored, and sends the changed windows to watchers.
async fn publish(changes: Changes, numbers: &Numbers, live: &Broadcast<Window>) {
    {
        let mut followed = numbers.lock();
        // A device whose connection has ended has no receiver.
        followed.retain(|_, number| !number.is_closed());
        for (device, last) in changes.numbers {
            if let Some(number) = followed.get(&device) {
                number.send_replace(last);
            }
        }
    }
    for window in changes.windows {
        live.send(window).await;
    }
}
