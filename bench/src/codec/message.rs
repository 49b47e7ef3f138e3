//! The messages. Each has the number of bytes that its name says, and is the same in every run.

use std::str::FromStr;

use anyhow::{Error, Result, anyhow};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::Method::{Add, Batch, Echo, Place, Text};
use super::handlers::Receipt;
use crate::work::{Order, WORK};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Method {
    /// Takes two numbers, and returns their sum.
    Add,
    /// Takes an order, and returns a receipt for it.
    Place,
    /// Takes an order, and returns the same order.
    Echo,
    /// Takes many orders, and returns a receipt for all of them.
    Batch,
    /// Takes a text, and returns its length.
    Text,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Place => "place",
            Self::Echo => "echo",
            Self::Batch => "batch",
            Self::Text => "text",
        }
    }
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) method: Method,
    pub(crate) size: usize,
    /// `true` if its strings have escapes, one after about every forty bytes.
    escapes: bool,
}

const ID: u64 = 7;
const SUMMANDS: (i64, i64) = (1234, 5678);

impl Message {
    pub(crate) const ALL: [Self; 13] = [
        Self::plain(Add, 60),
        Self::plain(Place, 300),
        Self::escaped(Place, 300),
        Self::plain(Echo, 300),
        Self::escaped(Echo, 300),
        Self::plain(Place, 4 << 10),
        Self::escaped(Place, 4 << 10),
        Self::plain(Echo, 4 << 10),
        Self::escaped(Echo, 4 << 10),
        Self::plain(Batch, 100 << 10),
        Self::escaped(Batch, 100 << 10),
        Self::plain(Text, 100 << 10),
        Self::escaped(Text, 100 << 10),
    ];

    const fn plain(method: Method, size: usize) -> Self {
        Self {
            method,
            size,
            escapes: false,
        }
    }

    const fn escaped(method: Method, size: usize) -> Self {
        Self {
            method,
            size,
            escapes: true,
        }
    }

    pub(crate) fn name(self) -> String {
        let escapes = if self.escapes { "-escapes" } else { "" };
        format!("{}-{}{escapes}", self.method.name(), self.size)
    }

    /// Returns the message as this framework's client and jsonrpsee's write it.
    pub(crate) fn bytes(self) -> Result<Vec<u8>> {
        match self.method {
            Add => self.with_params(SUMMANDS),
            Place | Echo => self.with_params((self.order()?,)),
            Batch => self.with_params((self.orders()?,)),
            Text => self.with_params((self.text()?,)),
        }
    }

    pub(crate) fn is_answered_by(self, answer: &Value) -> Result<bool> {
        let result = match self.method {
            Add => json!(SUMMANDS.0 + SUMMANDS.1),
            Place => json!(Receipt::of(&[self.order()?])),
            Echo => json!(self.order()?),
            Batch => json!(Receipt::of(&self.orders()?)),
            Text => json!(self.text()?.len()),
        };
        Ok(*answer == json!({"jsonrpc": "2.0", "id": ID, "result": result}))
    }

    fn with_params(self, params: impl Serialize) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Request<P> {
            jsonrpc: &'static str,
            id: u64,
            method: Method,
            params: P,
        }
        Ok(serde_json::to_vec(&Request {
            jsonrpc: "2.0",
            id: ID,
            method: self.method,
            params,
        })?)
    }

    /// Makes an order whose note fills the message up to its size.
    fn order(self) -> Result<Order> {
        let lines = &WORK.order.lines;
        let mut order = match self.size {
            300 => Order {
                id: 7,
                customer: "Ada King".to_owned(),
                email: "ada@host.org".to_owned(),
                created: "2026-03-08".to_owned(),
                address: "Rome".to_owned(),
                currency: "EUR".to_owned(),
                note: String::new(),
                total: 79.5,
                lines: lines[7..].to_vec(),
            },
            _ => Order {
                note: String::new(),
                total: cents(WORK.order.total),
                lines: lines.iter().cycle().take(30).cloned().collect(),
                ..WORK.order.clone()
            },
        };
        self.form(&mut order);
        order.note = self.prose(self.size - self.with_params((&order,))?.len());
        Ok(order)
    }

    /// Makes the orders. The note of the last order fills the message up to its size.
    fn orders(self) -> Result<Vec<Order>> {
        let mut orders: Vec<_> = WORK.orders.iter().cycle().take(80).cloned().collect();
        for order in &mut orders {
            order.total = cents(order.total);
            order.note = self.prose(150);
            self.form(order);
        }
        let left = self.size - self.with_params((&orders,))?.len();
        if let Some(last) = orders.last_mut() {
            last.note += &self.prose(left);
        }
        Ok(orders)
    }

    fn text(self) -> Result<String> {
        Ok(self.prose(self.size - self.with_params(("",))?.len()))
    }

    /// Makes prose that takes `bytes` bytes as JSON.
    fn prose(self, bytes: usize) -> String {
        const LINE: &str = "It was a bright cold day in April, and all clocks agreed. ";
        let escapes = if self.escapes { bytes / APART } else { 0 };
        let plain = LINE.chars().cycle().take(bytes - escapes);
        let prose = plain.enumerate().map(|(position, letter)| {
            // An escape takes two bytes.
            let (number, within) = (position / (APART - 1), position % (APART - 1));
            let is_escape = number < escapes && within == APART - 2;
            if is_escape { escape(number) } else { letter }
        });
        prose.collect()
    }

    /// Puts escapes between the words of an order without any, if the message has escapes.
    fn form(self, order: &mut Order) {
        let (mut plain, mut number) = (APART, 0);
        let mut form = |letter: char| {
            plain += letter.len_utf8();
            if letter != ' ' || plain < APART {
                return letter;
            }
            plain = 0;
            number += 1;
            escape(number)
        };
        if self.escapes {
            *order = order.with_strings(|string| string.chars().map(&mut form).collect());
        }
    }
}

impl FromStr for Message {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|message| message.name() == name)
            .ok_or_else(|| anyhow!("no message is called {name}"))
    }
}

/// The approximate distance from one escape to the next, in bytes.
const APART: usize = 40;

fn escape(number: usize) -> char {
    ['\n', '"', '\t', '\\'][number % 4]
}

/// Rounds to a few digits, so that all contenders read the same number. serde_json may be off in the last of many digits.
fn cents(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_sizes_that_their_names_say() {
        for message in Message::ALL {
            let bytes = message.bytes().expect("JSON");
            assert_eq!(bytes.len(), message.size, "{}", message.name());
        }
    }

    #[test]
    fn messages_with_escapes_have_one_about_every_forty_bytes() {
        for message in Message::ALL {
            let json = String::from_utf8(message.bytes().expect("JSON")).expect("UTF-8");
            let escapes = json.replace("\\\\", "\\n").matches('\\').count();
            let strings = string_bytes(&serde_json::from_str(&json).expect("JSON"));
            match message.escapes {
                false => assert_eq!(escapes, 0, "{}", message.name()),
                true => {
                    let apart = strings as f64 / escapes as f64;
                    assert!((35.0..48.0).contains(&apart), "{}: {apart}", message.name());
                }
            }
        }
    }

    /// Returns the length of all strings in the parameters, in bytes.
    fn string_bytes(value: &Value) -> usize {
        match value {
            Value::String(string) => string.len(),
            Value::Array(items) => items.iter().map(string_bytes).sum(),
            Value::Object(members) => match members.get("params") {
                Some(params) => string_bytes(params),
                None => members.values().map(string_bytes).sum(),
            },
            _ => 0,
        }
    }
}
