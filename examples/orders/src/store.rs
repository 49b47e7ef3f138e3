//! The database: every order once, and the keys with which orders were placed.

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition};

use crate::api::{NewOrder, Order, State};

/// The orders as JSON, by number.
const ORDERS: TableDefinition<'_, u64, &str> = TableDefinition::new("orders");

/// The number of the order, by user and key.
const KEYS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("keys");

/// The numbers of the orders of each user.
const OWN: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("own");

/// An error of the database. It is boxed, since it is large.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The result of placing an order.
#[derive(Debug, PartialEq)]
pub enum Placing {
    /// The order was placed.
    Placed(Order),
    /// The user placed the same order with this key before.
    Repeated(Order),
    /// The key belongs to the order with this number, which is a different one.
    KeyInUse(u64),
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
        transaction.open_table(ORDERS)?;
        transaction.open_table(KEYS)?;
        transaction.open_table(OWN)?;
        transaction.commit()?;
        Ok(Self(database))
    }

    /// Places an order, unless the key belongs to one. The order and its key are on disk when this returns: both or neither.
    ///
    /// # Errors
    /// When the database fails. Nothing is changed in this case.
    pub fn place(&self, user: &str, new: NewOrder) -> Result<Placing, StoreError> {
        let transaction = self.0.begin_write()?;
        let placing = {
            let mut orders = transaction.open_table(ORDERS)?;
            let mut keys = transaction.open_table(KEYS)?;
            let of_key = keys.get((user, &*new.key))?.map(|id| id.value());
            if let Some(id) = of_key {
                let found = read(&orders, id)?.filter(|found| is_same(found, &new));
                found.map_or(Placing::KeyInUse(id), Placing::Repeated)
            } else {
                let id = orders.last()?.map_or(1, |(last, _)| last.value() + 1);
                let NewOrder { key, item, count } = new;
                let order = Order {
                    id,
                    user: user.to_owned(),
                    key,
                    item,
                    count,
                    state: State::Placed,
                };
                orders.insert(id, &*write(&order))?;
                keys.insert((user, &*order.key), id)?;
                transaction.open_table(OWN)?.insert((user, id), ())?;
                Placing::Placed(order)
            }
        };
        // Without a change, dropping the transaction spares the disk.
        if matches!(placing, Placing::Placed(_)) {
            transaction.commit()?;
        }
        Ok(placing)
    }

    /// Moves an order to a later state. Returns the order as it is then, or `None` if there is no such order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn advance(&self, id: u64, state: State) -> Result<Option<Order>, StoreError> {
        let transaction = self.0.begin_write()?;
        let order = {
            let mut orders = transaction.open_table(ORDERS)?;
            let Some(mut order) = read(&orders, id)? else {
                return Ok(None);
            };
            if order.state < state {
                order.state = state;
                orders.insert(id, &*write(&order))?;
            }
            order
        };
        transaction.commit()?;
        Ok(Some(order))
    }

    /// Returns the order with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub fn order(&self, id: u64) -> Result<Option<Order>, StoreError> {
        read(&self.0.begin_read()?.open_table(ORDERS)?, id)
    }

    /// Returns at most `most` orders of a user with a number of at least `first`, in the order of their numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub fn list(&self, user: &str, first: u64, most: usize) -> Result<Vec<Order>, StoreError> {
        let transaction = self.0.begin_read()?;
        let own = transaction.open_table(OWN)?;
        let orders = transaction.open_table(ORDERS)?;
        let mut found = Vec::new();
        for entry in own.range((user, first)..=(user, u64::MAX))?.take(most) {
            let (_, id) = entry?.0.value();
            found.extend(read(&orders, id)?);
        }
        Ok(found)
    }
}

fn is_same(order: &Order, new: &NewOrder) -> bool {
    (&order.item, order.count) == (&new.item, new.count)
}

fn read(
    orders: &impl ReadableTable<u64, &'static str>,
    id: u64,
) -> Result<Option<Order>, StoreError> {
    let order = orders.get(id)?;
    let order = order.map(|order| serde_json::from_str(order.value()));
    let damaged = |error: serde_json::Error| redb::Error::Corrupted(error.to_string());
    Ok(order.transpose().map_err(damaged)?)
}

fn write(order: &Order) -> String {
    serde_json::to_string(order).expect("an order has strings and numbers only")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(key: &str, count: u32) -> NewOrder {
        NewOrder {
            key: key.to_owned(),
            item: "pear".to_owned(),
            count,
        }
    }

    #[test]
    fn key_places_one_order_for_each_user() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("orders.redb")).unwrap();
        let Placing::Placed(first) = store.place("ada", new("a", 1)).unwrap() else {
            panic!("not placed")
        };
        let again = store.place("ada", new("a", 1)).unwrap();
        assert_eq!(again, Placing::Repeated(first.clone()));
        let other = store.place("ada", new("a", 2)).unwrap();
        assert_eq!(other, Placing::KeyInUse(first.id));
        let of_bob = store.place("bob", new("a", 1)).unwrap();
        assert!(matches!(of_bob, Placing::Placed(order) if order.id == 2));
        assert_eq!(store.list("ada", 0, 9).unwrap(), [first]);
    }

    #[test]
    fn state_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("orders.redb")).unwrap();
        store.place("ada", new("a", 1)).unwrap();
        let advance = |state| store.advance(1, state).unwrap().map(|order| order.state);
        assert_eq!(advance(State::Shipped), Some(State::Shipped));
        assert_eq!(advance(State::Packed), Some(State::Shipped));
        assert_eq!(store.advance(2, State::Packed).unwrap(), None);
    }
}
