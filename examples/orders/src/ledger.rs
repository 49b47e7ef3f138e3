//! The ledger: the process with the database, which the replicas call. Customers cannot connect to it.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use rpc_runtime::broadcast::Lagged;
use rpc_runtime::{Broadcast, RpcError, rpc};

use crate::api::{NewOrder, Order, State};
use crate::store::{Placing, Store, StoreError};

/// The maximum number of changed orders that wait for one watcher.
const LAG: usize = 1_024;

/// The number of orders that are read from the database at once.
const PAGE: usize = 256;

/// The service of the ledger. It trusts its callers to name the right user: only replicas have a certificate for it.
#[rpc(namespace = "ledger")]
pub trait Ledger {
    /// Places an order once.
    #[rpc(blocking, idempotent)]
    fn place(&self, user: &str, order: NewOrder) -> Result<Order, LedgerError>;

    /// Returns an order of a user.
    #[rpc(blocking, idempotent)]
    fn get(&self, user: &str, id: u64) -> Result<Order, LedgerError>;

    /// Returns all orders of a user.
    fn list(&self, user: &str) -> impl Stream<Item = Result<Order, LedgerError>>;

    /// Returns an order of a user, and the order after each change. The stream ends after a final state.
    fn watch(&self, user: &str, id: u64) -> impl Stream<Item = Result<Order, LedgerError>>;

    /// Moves an order to a later state.
    #[rpc(blocking, idempotent)]
    fn advance(&self, id: u64, state: State) -> Result<Order, LedgerError>;
}

/// An error of the ledger.
#[derive(Debug, Clone, PartialEq, thiserror::Error, RpcError)]
pub enum LedgerError {
    /// There is no such order, or it belongs to another user.
    #[error("no such order")]
    #[rpc(code = 1)]
    NotFound,
    /// The key belongs to a different order.
    #[error("the key belongs to order {id}")]
    #[rpc(code = 2)]
    KeyInUse {
        /// The number of the order.
        id: u64,
    },
    /// The order already has a later state.
    #[error("the order is already {now:?}")]
    #[rpc(code = 3)]
    Advanced {
        /// The state of the order.
        now: State,
    },
    /// The watcher is too slow.
    #[error(transparent)]
    #[rpc(code = 4)]
    Lagged(#[from] Lagged),
    /// The database failed.
    #[error("the database failed")]
    #[rpc(code = 5)]
    Storage,
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        // The details are for the operator, not for callers.
        tracing::error!(%error, "database failed");
        Self::Storage
    }
}

/// The implementation.
#[derive(Debug)]
pub struct Book {
    store: Arc<Store>,
    changes: Broadcast<Order>,
}

impl Book {
    /// Creates the service, and what ends its streams when the ledger shuts down.
    pub fn new(store: Store) -> (Self, Broadcast<Order>) {
        let changes = Broadcast::new();
        let book = Self {
            store: Arc::new(store),
            changes: changes.clone(),
        };
        (book, changes)
    }

    /// Queries the database, on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let store = Arc::clone(&self.store);
        let answer = tokio::task::spawn_blocking(move || question(&store)).await;
        Ok(answer.map_err(|_| LedgerError::Storage)??)
    }

    /// Returns some orders of the user and the number of the next, or `None` after the last.
    async fn page(
        &self,
        user: Arc<str>,
        first: u64,
    ) -> Result<Option<(Vec<Order>, u64)>, LedgerError> {
        let page = self.ask(move |store| store.list(&user, first, PAGE));
        let page = page.await?;
        let next = page.last().map(|order| order.id + 1);
        Ok(next.map(|next| (page, next)))
    }
}

/// Returns the order if it belongs to the user.
fn own(order: Option<Order>, user: &str) -> Result<Order, LedgerError> {
    let order = order.filter(|order| order.user == user);
    order.ok_or(LedgerError::NotFound)
}

impl Ledger for Book {
    fn place(&self, user: &str, order: NewOrder) -> Result<Order, LedgerError> {
        match self.store.place(user, order)? {
            Placing::Placed(order) | Placing::Repeated(order) => Ok(order),
            Placing::KeyInUse(id) => Err(LedgerError::KeyInUse { id }),
        }
    }

    fn get(&self, user: &str, id: u64) -> Result<Order, LedgerError> {
        own(self.store.order(id)?, user)
    }

    fn list(&self, user: &str) -> impl Stream<Item = Result<Order, LedgerError>> {
        let user = Arc::<str>::from(user);
        let pages = stream::try_unfold(0, move |first| self.page(Arc::clone(&user), first));
        pages
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
    }

    fn watch(&self, user: &str, id: u64) -> impl Stream<Item = Result<Order, LedgerError>> {
        // Subscribes first, so that a change meanwhile is sent twice and not missed.
        let changes = self.changes.subscribe_or_end::<LedgerError>(LAG);
        let changes = changes.try_filter(move |order| future::ready(order.id == id));
        let now = stream::once(async move {
            let order = self.ask(move |store| store.order(id)).await?;
            own(order, user)
        });
        until_final(now.chain(changes))
    }

    fn advance(&self, id: u64, state: State) -> Result<Order, LedgerError> {
        let order = self.store.advance(id, state)?;
        let order = order.ok_or(LedgerError::NotFound)?;
        if order.state != state {
            return Err(LedgerError::Advanced { now: order.state });
        }
        self.changes.blocking_send(order.clone());
        Ok(order)
    }
}

/// Ends a stream of the states of an order after the final state.
fn until_final<E>(
    orders: impl Stream<Item = Result<Order, E>>,
) -> impl Stream<Item = Result<Order, E>> {
    let ending = orders.flat_map(|order| {
        let state = order.as_ref().map(|order| order.state);
        let is_final = state.is_ok_and(|state| state == State::Shipped);
        stream::iter([Some(order)].into_iter().chain(is_final.then_some(None)))
    });
    ending
        .take_while(|order| future::ready(order.is_some()))
        .filter_map(future::ready)
}
