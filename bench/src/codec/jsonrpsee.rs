//! jsonrpsee's module, called without a server, in the way that its documentation shows.

use std::pin::pin;

use anyhow::Result;
use jsonrpsee::RpcModule;
use jsonrpsee::core::{RpcResult, async_trait};
use jsonrpsee::proc_macros::rpc;
use serde_json::value::RawValue;

use super::answers::{Answers, finish};
use super::handlers::Receipt;
use crate::work::Order;

#[rpc(server)]
trait Shop {
    #[method(name = "add")]
    async fn add(&self, a: i64, b: i64) -> RpcResult<i64>;
    #[method(name = "place")]
    async fn place(&self, order: Order) -> RpcResult<Receipt>;
    #[method(name = "echo")]
    async fn echo(&self, order: Order) -> RpcResult<Order>;
    #[method(name = "batch")]
    async fn batch(&self, orders: Vec<Order>) -> RpcResult<Receipt>;
    #[method(name = "text")]
    async fn text(&self, text: String) -> RpcResult<usize>;
}

struct Desk;

#[async_trait]
impl ShopServer for Desk {
    async fn add(&self, a: i64, b: i64) -> RpcResult<i64> {
        Ok(a + b)
    }

    async fn place(&self, order: Order) -> RpcResult<Receipt> {
        Ok(Receipt::of(&[order]))
    }

    async fn echo(&self, order: Order) -> RpcResult<Order> {
        Ok(order)
    }

    async fn batch(&self, orders: Vec<Order>) -> RpcResult<Receipt> {
        Ok(Receipt::of(&orders))
    }

    async fn text(&self, text: String) -> RpcResult<usize> {
        Ok(text.len())
    }
}

pub(crate) struct Contender {
    module: RpcModule<Desk>,
    answer: Box<RawValue>,
}

impl Contender {
    pub(crate) fn new() -> Self {
        Self {
            module: Desk.into_rpc(),
            answer: RawValue::NULL.to_owned(),
        }
    }
}

impl Answers for Contender {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]> {
        let message = str::from_utf8(message)?;
        (self.answer, _) = finish(pin!(self.module.raw_json_request(message, 1)))??;
        Ok(self.answer.get().as_bytes())
    }
}
