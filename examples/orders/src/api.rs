//! The services that customers call, and their types.

use rpc_runtime::{Context, RpcError, Stream, rpc};
use serde::{Deserialize, Serialize};

/// Issues tokens. Its methods need none.
#[rpc(namespace = "login")]
pub trait Login {
    /// Returns an access token and a refresh token.
    #[rpc(blocking, idempotent)]
    fn log_in(&self, user: &str, password: &str) -> Result<Tokens, LoginError>;

    /// Returns a new access token.
    #[rpc(idempotent)]
    async fn refresh(&self, refresh_token: &str) -> Result<String, LoginError>;
}

/// The tokens of a user.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tokens {
    /// Sent with each call, and valid for a short time.
    pub access: String,
    /// Sent only to get the next access token.
    pub refresh: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// An error of [`Login`].
#[derive(Debug, Clone, PartialEq, thiserror::Error, RpcError)]
pub enum LoginError {
    /// It does not say which of them, so that callers cannot find out the names of users.
    #[error("the user or the password is wrong")]
    #[rpc(code = 1)]
    Unknown,
    /// The refresh token is unknown or expired.
    #[error("the refresh token is unknown or expired; log in again")]
    #[rpc(code = 2)]
    Expired,
}

/// The orders. Every method needs an access token in the metadata `authorization`, and each user sees only their own orders.
#[rpc(namespace = "orders")]
pub trait Orders {
    /// Places an order. An order with a key that the user has already used is not placed again: the existing order is
    /// returned. So the call may be repeated, by the client or by its caller.
    #[rpc(idempotent)]
    async fn place(&self, cx: &Context, order: NewOrder) -> Result<Order, OrderError>;

    /// Returns an order.
    #[rpc(idempotent)]
    async fn get(&self, cx: &Context, id: u64) -> Result<Order, OrderError>;

    /// Returns all orders of the user, in the order in which they were placed.
    fn list(&self, cx: &Context) -> impl Stream<Item = Result<Order, OrderError>>;

    /// Returns the order as it is, and again after each change. The stream ends after a final state.
    ///
    /// A watcher whose stream ends early calls again, and misses no later state.
    fn watch(&self, cx: &Context, id: u64) -> impl Stream<Item = Result<Order, OrderError>>;

    /// Places many orders. If the call fails, some of them may be placed; sending all of them again places the others.
    async fn import(
        &self,
        cx: &Context,
        orders: impl Stream<Item = NewOrder>,
    ) -> Result<u64, OrderError>;

    /// Changes the state of an order of any user. For administrators.
    #[rpc(idempotent)]
    async fn advance(&self, cx: &Context, id: u64, state: State) -> Result<Order, OrderError>;
}

/// An order that is to be placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Identifies the order among those of its user. The caller chooses it, and repeats it when it repeats the call.
    pub key: String,
    /// The ordered item.
    pub item: String,
    /// The number of pieces.
    pub count: u32,
}

/// An order that was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The number of the order.
    pub id: u64,
    /// The user that placed it.
    pub user: String,
    /// The key that the user chose.
    pub key: String,
    /// The ordered item.
    pub item: String,
    /// The number of pieces.
    pub count: u32,
    /// The state.
    pub state: State,
}

/// The state of an order. The states follow one another in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The order is stored.
    Placed,
    /// The order is packed.
    Packed,
    /// The order has left. This is the last state.
    Shipped,
}

/// An error of [`Orders`]. The codes are those of HTTP, which callers know.
#[derive(Debug, Clone, PartialEq, thiserror::Error, RpcError)]
pub enum OrderError {
    /// The order is not valid.
    #[error("invalid order: {0}")]
    #[rpc(code = 400)]
    Invalid(String),
    /// The token is missing, wrong or expired.
    #[error("the token is missing, wrong or expired")]
    #[rpc(code = 401)]
    Unauthenticated,
    /// The user may not call the method.
    #[error("only administrators may call this method")]
    #[rpc(code = 403)]
    Forbidden,
    /// The user has no such order.
    #[error("there is no order {0}")]
    #[rpc(code = 404)]
    NotFound(u64),
    /// The key belongs to another order of the same user.
    #[error("the key belongs to order {id}, which is a different one")]
    #[rpc(code = 409)]
    KeyInUse {
        /// The number of the order.
        id: u64,
    },
    /// The order already has a later state.
    #[error("the order is already {now:?}")]
    #[rpc(code = 410)]
    Advanced {
        /// The state of the order.
        now: State,
    },
    /// The user has made too many calls.
    #[error("too many calls; try again in {seconds} s")]
    #[rpc(code = 429)]
    TooMany {
        /// The time after which calls are accepted again.
        seconds: u64,
    },
    /// The orders cannot be read or stored at the moment. The call may be repeated.
    #[error("the orders are not available; try again")]
    #[rpc(code = 503)]
    Unavailable,
}
