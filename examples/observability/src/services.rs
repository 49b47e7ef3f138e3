//! Two services, one of which calls the other. Nothing in them knows of traces or metrics.

use rpc_runtime::{CallError, ErrorObject, RpcError, rpc};

/// What customers call.
#[rpc]
pub trait Shop {
    /// What so many of an item cost.
    async fn price(&self, item: &str, count: u64) -> Result<u64, ErrorObject>;
}

/// What the shop calls.
#[rpc(namespace = "stock")]
pub trait Stock {
    /// What one of an item costs.
    async fn price(&self, item: &str) -> Result<u64, Unknown>;
}

/// There is no such item.
#[derive(Debug, RpcError)]
#[rpc(code = 404)]
pub struct Unknown;

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such item")
    }
}

/// Sells what its stock has.
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

/// Knows prices.
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
