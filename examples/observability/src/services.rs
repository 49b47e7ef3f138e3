//! Two services, of which the first calls the second. They contain no code for traces or metrics.

use rpc_runtime::{CallError, ErrorObject, RpcError, rpc};

/// The service that customers call.
#[rpc]
pub trait Shop {
    /// Returns the price of `count` pieces of an item.
    async fn price(&self, item: &str, count: u64) -> Result<u64, ErrorObject>;
}

/// The service that the shop calls.
#[rpc(namespace = "stock")]
pub trait Stock {
    /// Returns the price of one piece of an item.
    async fn price(&self, item: &str) -> Result<u64, Unknown>;
}

/// The error for an item that does not exist.
#[derive(Debug, RpcError)]
#[rpc(code = 404)]
pub struct Unknown;

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such item")
    }
}

/// Sells the items of its stock.
pub struct Keeper(pub StockClient);

impl Shop for Keeper {
    async fn price(&self, item: &str, count: u64) -> Result<u64, ErrorObject> {
        match self.0.price(item).await {
            Ok(price) => Ok(price * count),
            Err(CallError::Application(unknown)) => Err(ErrorObject::new(404, unknown.to_string())),
            Err(error) => Err(ErrorObject::new(503, error.to_string())),
        }
    }
}

/// Stores the prices.
pub struct Shelf;

impl Stock for Shelf {
    async fn price(&self, item: &str) -> Result<u64, Unknown> {
        match item {
            "pear" => Ok(3),
            "plum" => Ok(2),
            _ => Err(Unknown),
        }
    }
}
