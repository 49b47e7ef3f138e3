//! Group commit: while one transaction is written to disk, the readings of all devices gather for the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rpc_runtime::Broadcast;
use tokio::sync::{mpsc, watch};

use crate::api::{TelemetryError, Window};
use crate::store::{Arrival, Changes, Store, StoreError};

/// Readings that wait for the next transaction, and the most that one takes. When so many wait, devices wait, too.
const GROUP: usize = 4_096;

/// Where readings are handed in.
#[derive(Debug)]
pub struct Recorder {
    arrivals: mpsc::Sender<Arrival>,
    numbers: Arc<Numbers>,
}

/// The number of each device's last reading, for those who want to know when it changes.
#[derive(Debug, Default)]
struct Numbers(Mutex<HashMap<Arc<str>, watch::Sender<u64>>>);

impl Recorder {
    /// A recorder, and its work, which ends when the recorder is dropped and everything is stored. Windows that have
    /// changed go into `live`.
    pub fn new(
        store: Arc<Store>,
        live: Broadcast<Window>,
    ) -> (Self, impl Future<Output = Result<(), StoreError>> + Send) {
        let (arrivals, arrived) = mpsc::channel(GROUP);
        let numbers = Arc::default();
        let work = record(store, arrived, Arc::clone(&numbers), live);
        (Self { arrivals, numbers }, work)
    }

    /// Hands a reading in. Waits while too many do.
    ///
    /// # Errors
    /// When the database has failed.
    pub async fn record(&self, arrival: Arrival) -> Result<(), TelemetryError> {
        let handed_in = self.arrivals.send(arrival).await;
        handed_in.map_err(|_| TelemetryError::Storage)
    }

    /// The number of the device's last stored reading, as it changes. `stored` is what the database said.
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
        tell(changes, &numbers, &live).await;
    }
    Ok(())
}

/// What is stored is acknowledged, and shown.
async fn tell(changes: Changes, numbers: &Numbers, live: &Broadcast<Window>) {
    {
        let mut followed = numbers.lock();
        // Nobody follows a device whose connection is gone.
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
