//! The workloads: four methods, a stream of items, and the data for them. The data is the same for all contenders, and the
//! same in every run.

use std::sync::LazyLock;

use anyhow::ensure;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The workload of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Takes two numbers, and returns their sum.
    Add,
    /// Takes an order of 1.2 KB, and returns it.
    Record,
    /// Takes 64 KB of orders, and returns the number of pieces that were ordered.
    Batch,
    /// Takes 100 KB of text, and returns its length.
    Text,
    /// Returns readings without end. There are as many streams as calls in flight, and each reading counts as a call.
    Items,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Record => "record",
            Self::Batch => "batch",
            Self::Text => "text",
            Self::Items => "items",
        }
    }
}

/// An order, with owned or borrowed strings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order<S = String> {
    pub(crate) id: u64,
    pub(crate) customer: S,
    pub(crate) email: S,
    pub(crate) created: S,
    pub(crate) address: S,
    pub(crate) currency: S,
    pub(crate) note: S,
    pub(crate) total: f64,
    pub(crate) lines: Vec<Line<S>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line<S = String> {
    pub(crate) sku: S,
    pub(crate) title: S,
    pub(crate) quantity: u32,
    pub(crate) price: f64,
    pub(crate) discount: f64,
}

/// An item of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) at: u64,
    pub(crate) device: u32,
    pub(crate) celsius: f64,
}

impl Reading {
    pub(crate) fn new(at: u64) -> Self {
        Self {
            at,
            device: 17,
            celsius: 20.0 + (at % 64) as f64 / 8.0,
        }
    }

    /// Returns all readings, without end.
    pub(crate) fn all() -> impl Iterator<Item = Self> + Send + 'static {
        (0..).map(Self::new)
    }
}

/// The arguments, made once.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) order: Order,
    pub(crate) orders: Vec<Order>,
    pub(crate) pieces: u64,
    pub(crate) text: String,
}

pub(crate) static WORK: LazyLock<Work> = LazyLock::new(|| {
    let orders: Vec<Order> = (0..55).map(order).collect();
    Work {
        order: order(7),
        pieces: orders.iter().map(Order::pieces).sum(),
        orders,
        text: text(100 << 10),
    }
});

impl<S> Order<S> {
    /// Returns the same order with its strings converted by `form`.
    pub(crate) fn with_strings<'a, T>(&'a self, mut form: impl FnMut(&'a S) -> T) -> Order<T> {
        let Self {
            id,
            customer,
            email,
            created,
            address,
            currency,
            note,
            total,
            lines,
        } = self;
        Order {
            id: *id,
            customer: form(customer),
            email: form(email),
            created: form(created),
            address: form(address),
            currency: form(currency),
            note: form(note),
            total: *total,
            lines: lines
                .iter()
                .map(|line| Line {
                    sku: form(&line.sku),
                    title: form(&line.title),
                    quantity: line.quantity,
                    price: line.price,
                    discount: line.discount,
                })
                .collect(),
        }
    }

    pub(crate) fn pieces(&self) -> u64 {
        self.lines.iter().map(|line| u64::from(line.quantity)).sum()
    }
}

/// Fails if a contender's answer is not right. Every answer is checked with it.
pub(crate) fn check(right: bool) -> anyhow::Result<()> {
    ensure!(right, "a wrong answer");
    Ok(())
}

fn order(number: u64) -> Order {
    const TITLES: [&str; 8] = [
        "Ballpoint pen, blue",
        "Notebook A5, ruled, 96 pages",
        "Desk lamp, warm white",
        "USB-C cable, 2 m",
        "Paper clips, box of 500",
        "Whiteboard marker set",
        "Office chair mat",
        "Stapler, steel",
    ];
    let lines = (0u64..).zip(TITLES).map(|(position, title)| Line {
        sku: format!(
            "{:02}-{:04}-{:03}",
            position + 10,
            (number * 37 + position * 101) % 10_000,
            number % 1000
        ),
        title: title.to_owned(),
        quantity: (1 + (number + position) % 9) as u32,
        price: (199 + (number * 131 + position * 977) % 9_000) as f64 / 100.0,
        discount: position as f64 / 40.0,
    });
    let lines: Vec<Line> = lines.collect();
    let total = lines
        .iter()
        .map(|line| f64::from(line.quantity) * line.price * (1.0 - line.discount))
        .sum();
    Order {
        id: 4_200_000 + number,
        customer: "Margarete Hollerith-Lovelace".to_owned(),
        email: "margarete.hollerith@example.org".to_owned(),
        created: format!("2026-03-{:02}T08:{:02}:17.250Z", 1 + number % 28, number % 60),
        address: "Rechnerstraße 12, Hinterhaus, 3. Stock links, 10115 Berlin, Germany".to_owned(),
        currency: "EUR".to_owned(),
        note: "Ring twice.\nLeave it \"at the back door\",\tnot in the yard; the dog is friendly, the goat isn't. If nobody is at home, the neighbours at number 14 can take it.".to_owned(),
        total,
        lines,
    }
}

/// Makes prose in lines of eighty characters, with one escape in each.
pub(crate) fn text(bytes: usize) -> String {
    const LINE: &str =
        "It was a bright cold day in April, and all the clocks agreed with one another.\n";
    LINE.chars().cycle().take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_has_the_sizes_that_the_tables_say() {
        assert_eq!((bytes(&WORK.order), bytes(&WORK.orders) >> 10), (1200, 64));
        assert_eq!(WORK.text.len(), 100 << 10);
    }

    fn bytes(value: &impl Serialize) -> usize {
        serde_json::to_vec(value).expect("JSON").len()
    }
}
