//! karyon_jsonrpc over QUIC: a stream for each call, and parameters as `serde_json::Value`.

use std::sync::Arc;

use anyhow::Result;
use karyon_core::async_runtime::Executor;
use karyon_jsonrpc::client::{Client, ClientBuilder};
use karyon_jsonrpc::error::RPCError;
use karyon_jsonrpc::rpc_impl;
use karyon_jsonrpc::server::ServerBuilder;
use karyon_net::Endpoint;
use karyon_net::quic::{ClientQuicConfig, QuicConfig, ServerQuicConfig};
use serde_json::{Value, from_value, json};
use tokio::runtime::Runtime;

use super::certificate::Identity;
use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work::Order;

struct Shop;

#[rpc_impl]
impl Shop {
    async fn add(&self, params: Value) -> Result<Value, RPCError> {
        let (a, b): (i64, i64) = from_value(params)?;
        Ok(json!(a + b))
    }

    async fn record(&self, params: Value) -> Result<Value, RPCError> {
        let (order,): (Order,) = from_value(params)?;
        Ok(json!(order))
    }

    async fn batch(&self, params: Value) -> Result<Value, RPCError> {
        let (orders,): (Vec<Order>,) = from_value(params)?;
        Ok(json!(orders.iter().map(Order::pieces).sum::<u64>()))
    }

    async fn text(&self, params: Value) -> Result<Value, RPCError> {
        let (text,): (String,) = from_value(params)?;
        Ok(json!(text.len()))
    }
}

/// Returns the transport settings. The default of 100 open streams is less than the number of calls in flight here.
fn config() -> QuicConfig {
    QuicConfig {
        max_bi_streams: 1024,
        ..QuicConfig::default()
    }
}

pub(crate) async fn serve(runtime: &Arc<Runtime>) -> Result<()> {
    let identity = Identity::new()?;
    let quic = ServerQuicConfig::new(vec![identity.certificate], Arc::new(identity.key));
    let server = ServerBuilder::new("quic://127.0.0.1:0")?
        .service(Arc::new(Shop))
        .quic_config(quic.with_config(config()))?
        .with_executor(Executor::from(Arc::clone(runtime)))
        .build()
        .await?;
    announce(
        server.local_endpoint()?.try_into()?,
        Some(identity.certificate_pem),
    )?;
    Ok(server.start_block().await?)
}

pub(crate) async fn connect(hello: &Hello, runtime: &Arc<Runtime>) -> Result<impl Calls> {
    let quic = ClientQuicConfig::new(vec![hello.certificate_der()?], "localhost");
    let client = ClientBuilder::new(Endpoint::new_quic_addr(hello.address))?
        .quic_config(quic.with_config(config()))?
        .with_executor(Executor::from(Arc::clone(runtime)))
        .build()
        .await?;
    Ok(client)
}

impl Calls for Arc<Client> {
    type Order = Order;
    type Orders = Arc<Vec<Order>>;
    type Text = Arc<String>;

    fn make_order(order: &Order) -> Order {
        order.clone()
    }

    fn make_orders(orders: &'static [Order]) -> Self::Orders {
        Arc::new(orders.to_vec())
    }

    fn make_text(text: &'static str) -> Self::Text {
        Arc::new(text.to_owned())
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.call("Shop.add", (a, b)).await?)
    }

    async fn record(&mut self, order: Order) -> Result<Order> {
        Ok(self.call("Shop.record", (order,)).await?)
    }

    async fn batch(&mut self, orders: &Self::Orders) -> Result<u64> {
        Ok(self.call("Shop.batch", (Arc::clone(orders),)).await?)
    }

    async fn text(&mut self, text: &Self::Text) -> Result<u64> {
        Ok(self.call("Shop.text", (Arc::clone(text),)).await?)
    }
}
