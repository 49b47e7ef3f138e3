//! This framework. All settings are the defaults; strings are borrowed, as its documentation recommends.

use std::pin::pin;

use anyhow::Result;
use rpc_runtime::{RawService, rpc};

use super::answers::{Answers, finish};
use super::handlers::Receipt;
use crate::work::Order;

#[rpc]
trait Shop {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn place(&self, order: Order<&str>) -> Receipt;
    async fn echo<'a>(&self, order: Order<&'a str>) -> Order<&'a str>;
    async fn batch(&self, orders: Vec<Order<&str>>) -> Receipt;
    async fn text(&self, text: &str) -> usize;
}

struct Desk;

impl Shop for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn place(&self, order: Order<&str>) -> Receipt {
        Receipt::of(&[order])
    }

    async fn echo<'a>(&self, order: Order<&'a str>) -> Order<&'a str> {
        order
    }

    async fn batch(&self, orders: Vec<Order<&str>>) -> Receipt {
        Receipt::of(&orders)
    }

    async fn text(&self, text: &str) -> usize {
        text.len()
    }
}

pub(crate) struct Contender(RawService<ShopServer<Desk>>);

impl Contender {
    pub(crate) fn new() -> Self {
        Self(RawService::new(ShopServer::new(Desk)))
    }
}

impl Answers for Contender {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]> {
        finish(pin!(self.0.respond(message)))
    }
}
