//! The database: every reading once, the last number of each device, and the windows, all changed in one transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition};

use crate::api::{Reading, WINDOW, Window};

type Aggregate = (u64, f64, f64, f64);

/// The time and the value of a reading, by device and number.
const READINGS: TableDefinition<'_, (&str, u64), (u64, f64)> = TableDefinition::new("readings");

/// The number of the last reading, by device.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// The count, the minimum, the maximum and the sum of a window, by start and device.
const WINDOWS: TableDefinition<'_, (u64, &str), Aggregate> = TableDefinition::new("windows");

/// A reading that is to be stored.
#[derive(Debug)]
pub struct Arrival {
    /// The name of the device.
    pub device: Arc<str>,
    /// The reading itself.
    pub reading: Reading,
}

/// The changes of a transaction.
#[derive(Debug, Default)]
pub struct Changes {
    /// The last number of each device.
    pub numbers: Vec<(Arc<str>, u64)>,
    /// The changed windows as they are now.
    pub windows: Vec<Window>,
}

/// An error of the database. It is boxed, since it is large.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The database. All methods may block on the disk.
#[derive(Debug)]
pub struct Store(Database);

impl Store {
    /// Opens a database, or creates it. A database that was not closed is repaired first.
    ///
    /// # Errors
    /// When the file cannot be used, or another process has it open.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let database = Database::create(file)?;
        let transaction = database.begin_write()?;
        transaction.open_table(READINGS)?;
        transaction.open_table(NUMBERS)?;
        transaction.open_table(WINDOWS)?;
        transaction.commit()?;
        Ok(Self(database))
    }

    /// Stores the readings that are not stored yet. Those of a device have to be in the order of their numbers. They are on
    /// disk when this returns.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed in this case.
    pub fn commit(&self, arrivals: &[Arrival]) -> Result<Changes, StoreError> {
        let mut numbers = BTreeMap::<&Arc<str>, u64>::new();
        let mut windows = BTreeMap::<(u64, &str), Window>::new();
        let transaction = self.0.begin_write()?;
        {
            let mut stored_readings = transaction.open_table(READINGS)?;
            let mut stored_numbers = transaction.open_table(NUMBERS)?;
            let mut stored_windows = transaction.open_table(WINDOWS)?;
            for Arrival { device, reading } in arrivals {
                let Reading { number, at, value } = *reading;
                let last = match numbers.entry(device) {
                    Entry::Occupied(last) => last.into_mut(),
                    Entry::Vacant(none) => {
                        let last = stored_numbers.get(&**device)?;
                        none.insert(last.map_or(0, |last| last.value()))
                    }
                };
                if number <= *last {
                    continue;
                }
                *last = number;
                stored_readings.insert((&**device, number), (at, value))?;
                let key = (at - at % WINDOW, &**device);
                let window = match windows.entry(key) {
                    Entry::Occupied(window) => window.into_mut(),
                    Entry::Vacant(none) => {
                        let stored = stored_windows.get(key)?;
                        none.insert(window(key, stored.map(|stored| stored.value())))
                    }
                };
                window.count += 1;
                window.min = window.min.min(value);
                window.max = window.max.max(value);
                window.sum += value;
            }
            for (device, last) in &numbers {
                stored_numbers.insert(&***device, last)?;
            }
            for (key, window) in &windows {
                let aggregate = (window.count, window.min, window.max, window.sum);
                stored_windows.insert(key, aggregate)?;
            }
        }
        transaction.commit()?;
        let numbers = numbers.into_iter();
        Ok(Changes {
            numbers: numbers
                .map(|(device, last)| (Arc::clone(device), last))
                .collect(),
            windows: windows.into_values().collect(),
        })
    }

    /// Returns the number of a device's last reading, or 0 if there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last_number(&self, device: &str) -> Result<u64, StoreError> {
        let numbers = self.0.begin_read()?.open_table(NUMBERS)?;
        let last = numbers.get(device)?;
        Ok(last.map_or(0, |last| last.value()))
    }

    /// Returns at most `most` of a device's readings with these numbers, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn readings(
        &self,
        device: &str,
        numbers: RangeInclusive<u64>,
        most: usize,
    ) -> Result<Vec<Reading>, StoreError> {
        let readings = self.0.begin_read()?.open_table(READINGS)?;
        let range = readings.range((device, *numbers.start())..=(device, *numbers.end()))?;
        let readings = range.take(most).map(|entry| {
            let (key, reading) = entry?;
            let ((_, number), (at, value)) = (key.value(), reading.value());
            Ok(Reading { number, at, value })
        });
        readings.collect()
    }

    /// Returns the windows that started at `since` or later, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn windows(&self, since: u64) -> Result<Vec<Window>, StoreError> {
        let windows = self.0.begin_read()?.open_table(WINDOWS)?;
        let windows = windows.range((since, "")..)?.map(|entry| {
            let (key, aggregate) = entry?;
            Ok(window(key.value(), Some(aggregate.value())))
        });
        windows.collect()
    }
}

fn window((start, device): (u64, &str), aggregate: Option<Aggregate>) -> Window {
    let none = (0, f64::INFINITY, f64::NEG_INFINITY, 0.0);
    let (count, min, max, sum) = aggregate.unwrap_or(none);
    Window {
        device: device.to_owned(),
        start,
        count,
        min,
        max,
        sum,
    }
}
