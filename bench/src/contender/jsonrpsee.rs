//! jsonrpsee over WebSocket and HTTP.

use std::sync::Arc;

use anyhow::{Result, bail};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::client::{ClientT, SubscriptionClientT};
use jsonrpsee::core::middleware::{RpcServiceBuilder, RpcServiceT};
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait, to_json_raw_value};
use jsonrpsee::http_client::{HttpClient, HttpClientBuilder};
use jsonrpsee::proc_macros::rpc;
use jsonrpsee::rpc_params;
use jsonrpsee::server::{Server, ServerConfig};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};

use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work::{Order, Reading};

/// The maximum number of queued requests and of connections. By default the client queues 256 requests and the server
/// takes 100 connections. HTTP/1.1 needs a connection for each call in flight.
const PLENTY: u32 = 4096;

/// The maximum number of items by which the reader of a subscription may fall behind before the subscription ends. The
/// default of 1,024 is exceeded at once.
const BEHIND: usize = 1 << 16;

#[rpc(server)]
trait Shop {
    #[method(name = "add")]
    async fn add(&self, a: i64, b: i64) -> RpcResult<i64>;
    #[method(name = "record")]
    async fn record(&self, order: Order) -> RpcResult<Order>;
    #[method(name = "batch")]
    async fn batch(&self, orders: Vec<Order>) -> RpcResult<u64>;
    /// Takes a `String`, since text with an escape cannot be borrowed as `&str`.
    #[method(name = "text")]
    async fn text(&self, text: String) -> RpcResult<u64>;
    #[subscription(name = "items" => "item", unsubscribe = "no_items", item = Reading)]
    async fn items(&self) -> SubscriptionResult;
}

struct Desk;

#[async_trait]
impl ShopServer for Desk {
    async fn add(&self, a: i64, b: i64) -> RpcResult<i64> {
        Ok(a + b)
    }

    async fn record(&self, order: Order) -> RpcResult<Order> {
        Ok(order)
    }

    async fn batch(&self, orders: Vec<Order>) -> RpcResult<u64> {
        Ok(orders.iter().map(Order::pieces).sum())
    }

    async fn text(&self, text: String) -> RpcResult<u64> {
        Ok(text.len() as u64)
    }

    async fn items(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let sink = pending.accept().await?;
        for reading in Reading::all() {
            if sink.send(to_json_raw_value(&reading)?).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Serves both protocols. The server has no logging layer unless it is given one.
pub(crate) async fn serve() -> Result<()> {
    let config = ServerConfig::builder().max_connections(PLENTY).build();
    let server = Server::builder()
        .set_config(config)
        .set_rpc_middleware(RpcServiceBuilder::new())
        .build("127.0.0.1:0")
        .await?;
    announce(server.local_addr()?, None)?;
    server.start(Desk.into_rpc()).stopped().await;
    Ok(())
}

/// Connects over WebSocket, with the logging layer that the client has by default.
pub(crate) async fn connect_ws(hello: &Hello) -> Result<impl Calls> {
    let builder = WsClientBuilder::default()
        .max_concurrent_requests(PLENTY as usize)
        .max_buffer_capacity_per_subscription(BEHIND);
    let client = builder.build(format!("ws://{}", hello.address)).await?;
    Ok(Connection(Arc::new(client)))
}

/// Connects over WebSocket, without the logging layer.
pub(crate) async fn connect_bare_ws(hello: &Hello) -> Result<impl Calls> {
    let builder = WsClientBuilder::default()
        .max_concurrent_requests(PLENTY as usize)
        .max_buffer_capacity_per_subscription(BEHIND);
    let builder = builder.set_rpc_middleware(RpcServiceBuilder::new());
    let client = builder.build(format!("ws://{}", hello.address)).await?;
    Ok(Connection(Arc::new(client)))
}

pub(crate) async fn connect_http(hello: &Hello) -> Result<impl Calls> {
    let client = HttpClientBuilder::default().build(format!("http://{}", hello.address))?;
    Ok(Connection(Arc::new(client)))
}

struct Connection<C>(Arc<C>);

impl<C> Clone for Connection<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Subscribes to readings. Fails for clients without subscriptions.
trait Subscribes {
    fn items(&self) -> impl Future<Output = Result<BoxStream<'static, Result<Reading>>>> + Send;
}

impl Subscribes for HttpClient {
    async fn items(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        bail!("no streams of items")
    }
}

impl<S: RpcServiceT + Send + Sync> Subscribes for WsClient<S>
where
    Self: SubscriptionClientT,
{
    async fn items(&self) -> Result<BoxStream<'static, Result<Reading>>> {
        let items = self.subscribe("items", rpc_params![], "no_items").await?;
        Ok(items.err_into().boxed())
    }
}

impl<C: ClientT + Subscribes + Send + Sync + 'static> Calls for Connection<C> {
    type Order = Order;
    type Orders = &'static [Order];
    type Text = &'static str;

    fn make_order(order: &Order) -> Order {
        order.clone()
    }

    fn make_orders(orders: &'static [Order]) -> Self::Orders {
        orders
    }

    fn make_text(text: &'static str) -> Self::Text {
        text
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.0.request("add", rpc_params![a, b]).await?)
    }

    async fn record(&mut self, order: Order) -> Result<Order> {
        Ok(self.0.request("record", rpc_params![&order]).await?)
    }

    async fn batch(&mut self, orders: &Self::Orders) -> Result<u64> {
        Ok(self.0.request("batch", rpc_params![orders]).await?)
    }

    async fn text(&mut self, text: &Self::Text) -> Result<u64> {
        Ok(self.0.request("text", rpc_params![text]).await?)
    }

    async fn items(&mut self) -> Result<BoxStream<'static, Result<Reading>>> {
        C::items(&self.0).await
    }
}
