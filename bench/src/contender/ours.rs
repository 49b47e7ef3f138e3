//! This framework, over QUIC. All settings are the defaults.

use anyhow::{Context, Result};
use rpc_runtime::{Client, Identity, Server, Trust, rpc};
use serde::{Deserialize, Serialize};

use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work;

#[rpc]
trait Shop {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn record(&self, order: work::Order) -> work::Order;
    async fn batch(&self, orders: Vec<Order<'_>>) -> u64;
    async fn text(&self, text: &str) -> u64;
}

/// An order whose strings stay where they were received.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order<'a> {
    id: u64,
    customer: &'a str,
    email: &'a str,
    created: &'a str,
    currency: &'a str,
    note: &'a str,
    total: f64,
    #[serde(borrow)]
    lines: Vec<Line<'a>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line<'a> {
    sku: &'a str,
    title: &'a str,
    quantity: u32,
    price: f64,
    discount: f64,
}

struct Desk;

impl Shop for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn record(&self, order: work::Order) -> work::Order {
        order
    }

    async fn batch(&self, orders: Vec<Order<'_>>) -> u64 {
        let lines = orders.iter().flat_map(|order| &order.lines);
        lines.map(|line| u64::from(line.quantity)).sum()
    }

    async fn text(&self, text: &str) -> u64 {
        text.len() as u64
    }
}

pub(crate) async fn serve() -> Result<()> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let certificate = identity.certificate().to_pem();
    let server = Server::builder(identity)
        .service(ShopServer::new(Desk))
        .bind("127.0.0.1:0")?;
    announce(server.local_addr()?, Some(certificate))?;
    server.run().await;
    Ok(())
}

pub(crate) async fn connect(hello: &Hello) -> Result<impl Calls> {
    let pem = hello.certificate.as_deref().context("no certificate")?;
    let client = Client::builder()
        .trust(Trust::pem(pem.as_bytes())?)
        .connect(hello.address)
        .await?;
    Ok(ShopClient::new(client))
}

impl Calls for ShopClient {
    type Order = work::Order;
    type Orders = Vec<Order<'static>>;
    type Text = &'static str;

    fn make_order(order: &work::Order) -> Self::Order {
        order.clone()
    }

    fn make_orders(orders: &'static [work::Order]) -> Self::Orders {
        orders.iter().map(Order::of).collect()
    }

    fn make_text(text: &'static str) -> Self::Text {
        text
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        Ok(ShopClient::add(self, a, b).await?)
    }

    async fn record(&self, order: Self::Order) -> Result<Self::Order> {
        Ok(ShopClient::record(self, order).await?)
    }

    async fn batch(&self, orders: &Self::Orders) -> Result<u64> {
        Ok(ShopClient::batch(self, orders.clone()).await?)
    }

    async fn text(&self, text: &Self::Text) -> Result<u64> {
        Ok(ShopClient::text(self, text).await?)
    }
}

impl<'a> Order<'a> {
    fn of(order: &'a work::Order) -> Self {
        let lines = order.lines.iter().map(|line| Line {
            sku: &line.sku,
            title: &line.title,
            quantity: line.quantity,
            price: line.price,
            discount: line.discount,
        });
        Self {
            id: order.id,
            customer: &order.customer,
            email: &order.email,
            created: &order.created,
            currency: &order.currency,
            note: &order.note,
            total: order.total,
            lines: lines.collect(),
        }
    }
}
