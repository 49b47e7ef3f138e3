//! The work of the methods, which is the same for all contenders. It reads every string, so that no contender can leave a
//! string undecoded.

use serde::{Deserialize, Serialize};

use crate::work::Order;

/// The result for orders that are not echoed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    orders: usize,
    pieces: u64,
    /// The length of all strings, in bytes.
    letters: usize,
    total: f64,
}

impl Receipt {
    pub(crate) fn of<S: AsRef<str>>(orders: &[Order<S>]) -> Self {
        Self {
            orders: orders.len(),
            pieces: orders.iter().map(Order::pieces).sum(),
            letters: orders.iter().map(letters).sum(),
            total: orders.iter().map(|order| order.total).sum(),
        }
    }
}

fn letters<S: AsRef<str>>(order: &Order<S>) -> usize {
    let of_order = [
        &order.customer,
        &order.email,
        &order.created,
        &order.address,
        &order.currency,
        &order.note,
    ];
    let of_lines = order.lines.iter().flat_map(|line| [&line.sku, &line.title]);
    let strings = of_order.into_iter().chain(of_lines);
    strings.map(|string| string.as_ref().len()).sum()
}
