//! A service that records every call in a journal before it responds.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::iter;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rpc_runtime::rpc;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Calls that are recorded.
#[rpc(namespace = "ledger")]
pub trait Ledger {
    /// Records `number`, takes `work` milliseconds, and responds.
    async fn enter(&self, number: u64, work: u64) -> Receipt;
    /// Records `number`, and responds with `bytes` bytes.
    async fn fetch(&self, number: u64, bytes: usize) -> Receipt;
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    number: u64,
    padding: String,
    checksum: u64,
}

impl Receipt {
    fn new(number: u64, bytes: usize) -> Self {
        let digits = format!("{number} ");
        let padding: String = digits.chars().cycle().take(bytes).collect();
        Self {
            checksum: checksum(number, &padding),
            number,
            padding,
        }
    }

    /// Returns `true` if it is complete, and the result of this call.
    pub fn is_for(&self, number: u64, bytes: usize) -> bool {
        self.number == number
            && self.padding.len() == bytes
            && self.checksum == checksum(number, &self.padding)
    }
}

fn checksum(number: u64, padding: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (number, padding).hash(&mut hasher);
    hasher.finish()
}

/// The numbers of the calls that were executed.
#[derive(Debug)]
pub enum Journal {
    /// For a server in the same process.
    Memory(Mutex<Vec<u64>>),
    /// For a server that may be killed: it responds once the entry is on the disk.
    File {
        /// The file, with eight bytes for each call.
        path: PathBuf,
        /// Sends entries to the thread that writes them.
        entries: mpsc::Sender<Entry>,
    },
}

/// A number, and how to report that it is on the disk.
pub type Entry = (u64, oneshot::Sender<()>);

/// The size of a number in the file.
const ENTRY: usize = size_of::<u64>();

impl Journal {
    /// Returns a journal in memory.
    pub fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Returns a journal that appends to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        // A server that was killed within an entry has not responded to it.
        let length = file.metadata()?.len();
        file.set_len(length - length % ENTRY as u64)?;
        let (entries, received) = mpsc::channel();
        thread::spawn(move || keep(file, &received));
        Ok(Self::File { path, entries })
    }

    async fn enter(&self, number: u64) {
        match self {
            Self::Memory(numbers) => lock(numbers).push(number),
            Self::File { entries, .. } => {
                let (done, written) = oneshot::channel();
                entries
                    .send((number, done))
                    .expect("the thread of the journal runs");
                written.await.expect("the journal can be written");
            }
        }
    }

    /// Returns how often each number was recorded.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries(&self) -> io::Result<HashMap<u64, usize>> {
        let numbers = match self {
            Self::Memory(numbers) => lock(numbers).clone(),
            Self::File { path, .. } => {
                let bytes = fs::read(path)?;
                let (entries, _) = bytes.as_chunks::<ENTRY>();
                entries.iter().copied().map(u64::from_le_bytes).collect()
            }
        };
        let mut times = HashMap::new();
        for number in numbers {
            *times.entry(number).or_default() += 1;
        }
        Ok(times)
    }
}

fn lock(numbers: &Mutex<Vec<u64>>) -> MutexGuard<'_, Vec<u64>> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all queued entries at once.
fn keep(mut file: File, entries: &mpsc::Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let (numbers, done): (Vec<_>, Vec<_>) = iter::once(first).chain(entries.try_iter()).unzip();
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        file.write_all(&bytes)
            .and_then(|()| file.sync_data())
            .expect("the journal can be written");
        for done in done {
            // A cancelled call no longer waits.
            let _ = done.send(());
        }
    }
}

/// Serves [`Ledger`] with a journal.
#[derive(Debug)]
pub struct LedgerService(pub Arc<Journal>);

impl Ledger for LedgerService {
    async fn enter(&self, number: u64, work: u64) -> Receipt {
        self.0.enter(number).await;
        if work > 0 {
            tokio::time::sleep(Duration::from_millis(work)).await;
        }
        Receipt::new(number, 0)
    }

    async fn fetch(&self, number: u64, bytes: usize) -> Receipt {
        self.0.enter(number).await;
        Receipt::new(number, bytes)
    }
}
