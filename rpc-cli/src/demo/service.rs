//! The services of the demonstration, with a method of each kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{RpcError, rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Commands to try; `SERVER` stands for the address and the pin.
pub(super) const TRY: [&str; 9] = [
    "rpc describe SERVER",
    "rpc call SERVER text.count text='to be or not to be' needle=be",
    "rpc call SERVER shop.buy item=pear quantity=3",
    "rpc call SERVER shop.buy item=melon",
    "rpc call SERVER shop.restock item=melon quantity=7",
    "rpc stream SERVER shop.watch item=pear --count 3",
    r#"echo '{"item":"pear"}' | rpc stream SERVER shop.order --upload -"#,
    "rpc ping SERVER --count 3",
    "rpc bench SERVER text.count text='to be or not to be' needle=be --in-flight 64 --duration 2s",
];

/// Looks at text.
#[rpc(openrpc, namespace = "text")]
pub(crate) trait Text {
    /// Counts how often `needle` stands in `text`.
    ///
    /// Occurrences do not overlap: `"aa"` stands in `"aaa"` once.
    #[rpc(
        idempotent,
        alias = "wc",
        example(name = "A question", params = {"text": "to be or not to be", "needle": "be"}, result = 2)
    )]
    async fn count(&self, text: &str, needle: &str) -> usize;

    /// Repeats `text`.
    async fn repeat(&self, text: &str, #[rpc(default = 2)] times: u16) -> String;

    /// Waits for so many milliseconds, and says when it is over.
    #[rpc(idempotent)]
    async fn pause(&self, ms: u32) -> bool;

    /// The first line of `text`. Use `text.count`.
    #[deprecated]
    async fn first_line<'a>(&self, text: &'a str) -> &'a str;
}

/// A shop for fruit.
#[rpc(openrpc, namespace = "shop")]
pub(crate) trait Shop {
    /// Buys some of an item, and says what it costs.
    ///
    /// - There are pears at 5 and plums at 3.
    /// - There is **never** enough of anything to buy more than 100.
    async fn buy(&self, item: &str, #[rpc(default = 1)] quantity: u32)
    -> Result<Receipt, BuyError>;

    /// Says that there is more of an item. It has no reply.
    #[rpc(notification)]
    async fn restock(&self, item: &str, quantity: u32);

    /// How many notifications have come.
    #[rpc(idempotent)]
    async fn restocked(&self) -> u64;

    /// The price of an item, five times a second, for as long as the caller reads.
    fn watch(&self, item: &str) -> impl Stream<Item = Result<Price, BuyError>>;

    /// Takes orders as they come, and says what they cost together.
    async fn order(&self, orders: impl Stream<Item = Order>) -> Result<Receipt, BuyError>;
}

/// What was bought.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    /// How many.
    quantity: u32,
    /// In cents.
    total: u64,
}

/// What an item costs at a moment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Price {
    /// The item.
    item: String,
    /// In cents.
    cents: u64,
}

/// An item, and how many of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    /// `pear` or `plum`.
    item: String,
    /// How many; one, if it is not said.
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

/// Why nothing was sold.
#[derive(Debug, thiserror::Error, RpcError)]
pub(crate) enum BuyError {
    /// There is no such item.
    #[error("there is no {item}")]
    #[rpc(code = 1001)]
    Unknown { item: String },
    /// The shop has fewer.
    #[error("only {left} left")]
    #[rpc(code = 1002)]
    SoldOut { left: u32 },
}

/// The stock of each item.
const STOCK: u32 = 100;

/// The implementation of both services.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk {
    restocked: Arc<AtomicU64>,
}

fn price(item: &str) -> Result<u64, BuyError> {
    match item {
        "pear" => Ok(5),
        "plum" => Ok(3),
        _ => Err(BuyError::Unknown { item: item.into() }),
    }
}

fn sell(item: &str, quantity: u32) -> Result<Receipt, BuyError> {
    let total = price(item)? * u64::from(quantity);
    match quantity {
        ..=STOCK => Ok(Receipt { quantity, total }),
        _ => Err(BuyError::SoldOut { left: STOCK }),
    }
}

impl Text for Desk {
    async fn count(&self, text: &str, needle: &str) -> usize {
        text.matches(needle).count()
    }

    async fn repeat(&self, text: &str, times: u16) -> String {
        text.repeat(times.into())
    }

    async fn pause(&self, ms: u32) -> bool {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
        true
    }

    async fn first_line<'a>(&self, text: &'a str) -> &'a str {
        text.lines().next().unwrap_or_default()
    }
}

impl Shop for Desk {
    async fn buy(&self, item: &str, quantity: u32) -> Result<Receipt, BuyError> {
        sell(item, quantity)
    }

    async fn restock(&self, _: &str, _: u32) {
        self.restocked.fetch_add(1, Ordering::Relaxed);
    }

    async fn restocked(&self) -> u64 {
        self.restocked.load(Ordering::Relaxed)
    }

    fn watch(&self, item: &str) -> impl Stream<Item = Result<Price, BuyError>> {
        let moment = Duration::from_millis(200);
        stream::unfold(0, move |cents| async move {
            if cents > 0 {
                tokio::time::sleep(moment).await;
            }
            Some((cents, cents + 1))
        })
        .map(move |change| {
            let cents = price(item)? + change % 3;
            let item = item.to_owned();
            Ok(Price { item, cents })
        })
    }

    async fn order(
        &self,
        mut orders: impl Stream<Item = Order> + Send + Unpin,
    ) -> Result<Receipt, BuyError> {
        let mut sold = Receipt {
            quantity: 0,
            total: 0,
        };
        while let Some(order) = orders.next().await {
            let receipt = sell(&order.item, order.quantity)?;
            sold.quantity += receipt.quantity;
            sold.total += receipt.total;
        }
        Ok(sold)
    }
}
