//! The services of the demonstration, with a method of each kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{Context, RpcError, rpc};
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

/// Counts and repeats text.
#[rpc(openrpc, namespace = "text")]
pub(crate) trait Text {
    /// Counts the occurrences of `needle` in `text`.
    ///
    /// Occurrences do not overlap: `"aa"` occurs once in `"aaa"`.
    #[rpc(
        idempotent,
        alias = "wc",
        example(name = "A question", params = {"text": "to be or not to be", "needle": "be"}, result = 2)
    )]
    async fn count(&self, text: &str, needle: &str) -> usize;

    /// Returns `text`, repeated `times` times.
    async fn repeat(&self, text: &str, #[rpc(default = 2)] times: u16) -> String;

    /// Waits for `ms` milliseconds, and returns `true`.
    #[rpc(idempotent)]
    async fn pause(&self, ms: u32) -> bool;

    /// Returns the first line of `text`.
    #[deprecated]
    async fn first_line<'a>(&self, text: &'a str) -> &'a str;
}

/// Sells fruit.
#[rpc(openrpc, namespace = "shop")]
pub(crate) trait Shop {
    /// Buys an item, and returns the receipt.
    ///
    /// - A pear costs 5, and a plum 3.
    /// - One purchase is **never** of more than 100.
    ///
    /// The metadata `stock-left` of the response is the quantity that can still be bought.
    async fn buy(
        &self,
        cx: &Context,
        item: &str,
        #[rpc(default = 1)] quantity: u32,
    ) -> Result<Receipt, BuyError>;

    /// Reports new stock of an item. This notification has no reply.
    #[rpc(notification)]
    async fn restock(&self, item: &str, quantity: u32);

    /// Returns the number of received notifications.
    #[rpc(idempotent)]
    async fn restocked(&self) -> u64;

    /// Streams the price of an item, five times a second, until the caller stops.
    fn watch(&self, item: &str) -> impl Stream<Item = Result<Price, BuyError>>;

    /// Receives orders, and returns one receipt for all of them.
    async fn order(
        &self,
        cx: &Context,
        orders: impl Stream<Item = Order>,
    ) -> Result<Receipt, BuyError>;
}

/// The receipt of a purchase.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    /// The quantity.
    quantity: u32,
    /// The amount, in cents.
    total: u64,
}

/// The price of an item at one time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Price {
    /// The item.
    item: String,
    /// The amount, in cents.
    cents: u64,
}

/// An order for an item.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    /// `pear` or `plum`.
    item: String,
    /// The quantity. Defaults to 1.
    #[serde(default = "one")]
    quantity: u32,
}

fn one() -> u32 {
    1
}

/// The reason why nothing was sold.
#[derive(Debug, thiserror::Error, RpcError)]
pub(crate) enum BuyError {
    /// The item is unknown.
    #[error("there is no {item}")]
    #[rpc(code = 1001)]
    Unknown { item: String },
    /// The stock is smaller than the quantity.
    #[error("only {left} left")]
    #[rpc(code = 1002)]
    SoldOut { left: u32 },
}

/// The stock of each item.
const STOCK: u32 = 100;

/// The implementation of both services.
#[derive(Debug, Clone, Default)]
pub(crate) struct Demo {
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

impl Text for Demo {
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

impl Shop for Demo {
    async fn buy(&self, cx: &Context, item: &str, quantity: u32) -> Result<Receipt, BuyError> {
        let sold = sell(item, quantity);
        let left = STOCK - sold.as_ref().map_or(0, |receipt| receipt.quantity);
        // A number is always accepted.
        let _ = cx.set_response_meta("stock-left", &left.to_string());
        sold
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
        cx: &Context,
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
        let _ = cx.set_response_meta("sold", &sold.quantity.to_string());
        Ok(sold)
    }
}
