//! tarpc over TCP, as in the examples of its repository, with `TCP_NODELAY`, which it never sets itself.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use futures::StreamExt;
use tarpc::server::{BaseChannel, Channel};
pub(crate) use tarpc::tokio_serde::formats::{Bincode, Json};
use tarpc::tokio_serde::{Deserializer, Serializer};
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{ClientMessage, Response, client, context, serde_transport, server};
use tokio::net::{TcpListener, TcpStream};

use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work::Order;

/// The capacity of its queues, in messages. The default of 100 is less than the number of calls in flight here.
const QUEUE: usize = 1024;

/// The service. Arguments are owned; an `Arc` spares the caller a copy.
#[tarpc::service]
pub(crate) trait Shop {
    async fn add(a: i64, b: i64) -> i64;
    async fn record(order: Order) -> Order;
    async fn batch(orders: Arc<Vec<Order>>) -> u64;
    async fn text(text: Arc<String>) -> u64;
}

#[derive(Clone)]
struct Desk;

impl Shop for Desk {
    async fn add(self, _: context::Context, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn record(self, _: context::Context, order: Order) -> Order {
        order
    }

    async fn batch(self, _: context::Context, orders: Arc<Vec<Order>>) -> u64 {
        orders.iter().map(Order::pieces).sum()
    }

    async fn text(self, _: context::Context, text: Arc<String>) -> u64 {
        text.len() as u64
    }
}

pub(crate) async fn serve<C, E>(codec: fn() -> C) -> Result<()>
where
    C: Deserializer<ClientMessage<ShopRequest>, Error = E>,
    C: Serializer<Response<ShopResponse>, Error = E> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
    io::Error: From<E>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?, None)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let config = server::Config {
            pending_response_buffer: QUEUE,
        };
        let channel = BaseChannel::new(config, serde_transport::new(framed, codec()));
        tokio::spawn(channel.execute(Desk.serve()).for_each(async |call| {
            tokio::spawn(call);
        }));
    }
}

pub(crate) async fn connect<C, E>(hello: &Hello, codec: C) -> Result<impl Calls>
where
    C: Deserializer<Response<ShopResponse>, Error = E>,
    C: Serializer<ClientMessage<ShopRequest>, Error = E> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
    io::Error: From<E>,
{
    let stream = TcpStream::connect(hello.address).await?;
    stream.set_nodelay(true)?;
    let framed = LengthDelimitedCodec::builder().new_framed(stream);
    let mut config = client::Config::default();
    config.pending_request_buffer = QUEUE;
    config.max_in_flight_requests = QUEUE;
    Ok(ShopClient::new(config, serde_transport::new(framed, codec)).spawn())
}

impl Calls for ShopClient {
    type Order = Order;
    type Orders = Arc<Vec<Order>>;
    type Text = Arc<String>;

    fn make_order(order: &Order) -> Self::Order {
        order.clone()
    }

    fn make_orders(orders: &'static [Order]) -> Self::Orders {
        Arc::new(orders.to_vec())
    }

    fn make_text(text: &'static str) -> Self::Text {
        Arc::new(text.to_owned())
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(ShopClient::add(self, context::current(), a, b).await?)
    }

    async fn record(&mut self, order: Order) -> Result<Order> {
        Ok(ShopClient::record(self, context::current(), order).await?)
    }

    async fn batch(&mut self, orders: &Self::Orders) -> Result<u64> {
        Ok(ShopClient::batch(self, context::current(), Arc::clone(orders)).await?)
    }

    async fn text(&mut self, text: &Self::Text) -> Result<u64> {
        Ok(ShopClient::text(self, context::current(), Arc::clone(text)).await?)
    }
}
