//! The handlers of a replica. A replica has no data of its own: it checks what customers send, and asks the ledger.

use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};
use metrics::counter;
use rpc_runtime::{CallError, Context};
use tokio_util::sync::CancellationToken;

use crate::api::{Login, LoginError, NewOrder, Order, OrderError, Orders, State, Tokens};
use crate::authenticate::user;
use crate::files::Accounts;
use crate::ledger::{LedgerClient, LedgerError};
use crate::tokens::{Kind, Principal, TokenKey};

/// How long a refresh token is valid.
const REFRESH: Duration = Duration::from_secs(8 * 3600);

/// The number of orders of one import that wait for the ledger.
const IMPORTS: usize = 16;

/// Issues tokens.
#[derive(Debug)]
pub struct Gate {
    /// The users.
    pub accounts: Accounts,
    /// Signs the tokens.
    pub key: TokenKey,
    /// How long an access token is valid.
    pub lifetime: Duration,
}

impl Gate {
    fn issue(&self, principal: &Principal, kind: Kind) -> String {
        counter!("orders_tokens_issued_total").increment(1);
        let lifetime = match kind {
            Kind::Access => self.lifetime,
            Kind::Refresh => REFRESH,
        };
        self.key.issue(principal, kind, lifetime)
    }
}

impl Login for Gate {
    fn log_in(&self, user: &str, password: &str) -> Result<Tokens, LoginError> {
        let principal = self.accounts.verify(user, password);
        let principal = principal.ok_or(LoginError::Unknown)?;
        Ok(Tokens {
            access: self.issue(principal, Kind::Access),
            refresh: self.issue(principal, Kind::Refresh),
        })
    }

    async fn refresh(&self, refresh_token: &str) -> Result<String, LoginError> {
        let principal = self.key.verify(refresh_token, Kind::Refresh);
        let principal = principal.ok_or(LoginError::Expired)?;
        Ok(self.issue(&principal, Kind::Access))
    }
}

/// Takes the orders of customers.
#[derive(Debug)]
pub struct Desk {
    /// The ledger. Its calls inherit the deadline of the call whose handler makes them.
    pub ledger: LedgerClient,
    /// Ends the streams when the replica shuts down, which would otherwise keep it from ending.
    pub stopping: CancellationToken,
}

impl Desk {
    async fn place_order(&self, cx: &Context, order: NewOrder) -> Result<Order, OrderError> {
        check(&order)?;
        let placed = self.ledger.place(&user(cx)?.user, order).await;
        let placed = placed.map_err(|error| explain(error, 0))?;
        counter!("orders_placed_total").increment(1);
        Ok(placed)
    }

    /// Passes on a stream of the ledger, until the replica shuts down.
    fn pass_on(
        &self,
        orders: impl Stream<Item = Result<Order, OrderError>>,
    ) -> impl Stream<Item = Result<Order, OrderError>> {
        orders.take_until(self.stopping.cancelled())
    }
}

/// Checks an order before the ledger sees it.
fn check(order: &NewOrder) -> Result<(), OrderError> {
    let invalid = |reason: &str| Err(OrderError::Invalid(reason.to_owned()));
    match order {
        order if !(1..=64).contains(&order.key.len()) => invalid("a key has 1 to 64 bytes"),
        order if !(1..=64).contains(&order.item.len()) => invalid("an item has 1 to 64 bytes"),
        order if !(1..=1_000).contains(&order.count) => invalid("the count is 1 to 1,000"),
        _ => Ok(()),
    }
}

/// Returns what a customer may know of an error of the ledger.
fn explain(error: CallError<LedgerError>, id: u64) -> OrderError {
    match error {
        CallError::Application(LedgerError::NotFound) => OrderError::NotFound(id),
        CallError::Application(LedgerError::KeyInUse { id }) => OrderError::KeyInUse { id },
        CallError::Application(LedgerError::Advanced { now }) => OrderError::Advanced { now },
        error => {
            tracing::warn!(%error, "ledger did not answer");
            OrderError::Unavailable
        }
    }
}

impl Orders for Desk {
    async fn place(&self, cx: &Context, order: NewOrder) -> Result<Order, OrderError> {
        self.place_order(cx, order).await
    }

    async fn get(&self, cx: &Context, id: u64) -> Result<Order, OrderError> {
        let order = self.ledger.get(&user(cx)?.user, id).await;
        order.map_err(|error| explain(error, id))
    }

    fn list(&self, cx: &Context) -> impl Stream<Item = Result<Order, OrderError>> {
        let orders = user(cx).map(|user| self.ledger.list(&user.user).no_timeout());
        let orders = stream::once(future::ready(orders));
        let orders = orders.map_ok(|orders| orders.map_err(|error| explain(error, 0)));
        self.pass_on(orders.try_flatten())
    }

    fn watch(&self, cx: &Context, id: u64) -> impl Stream<Item = Result<Order, OrderError>> {
        let orders = user(cx).map(|user| self.ledger.watch(&user.user, id).no_timeout());
        let orders = stream::once(future::ready(orders));
        let orders = orders.map_ok(move |orders| orders.map_err(move |error| explain(error, id)));
        self.pass_on(orders.try_flatten())
    }

    async fn import(
        &self,
        cx: &Context,
        orders: impl Stream<Item = NewOrder> + Send,
    ) -> Result<u64, OrderError> {
        let placed = orders.map(|order| self.place_order(cx, order));
        let placed = placed.buffer_unordered(IMPORTS);
        placed.try_fold(0, async |count, _| Ok(count + 1)).await
    }

    async fn advance(&self, _: &Context, id: u64, state: State) -> Result<Order, OrderError> {
        let order = self.ledger.advance(id, state).await;
        order.map_err(|error| explain(error, id))
    }
}
