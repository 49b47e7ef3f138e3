//! This framework, over QUIC. All settings are the defaults.

use std::borrow::Cow;

use anyhow::Result;
use rpc_runtime::{Client, Identity, Server, Trust, rpc};

use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work;

/// An order whose strings stay where they were received.
type Order<'a> = work::Order<&'a str>;

#[rpc]
trait Shop {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn record(&self, order: work::Order) -> work::Order;
    async fn batch(&self, orders: Vec<Order<'_>>) -> u64;
    async fn batch_owned(&self, orders: Cow<'_, [work::Order]>) -> u64;
    async fn text(&self, text: &str) -> u64;
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
        orders.iter().map(Order::pieces).sum()
    }

    async fn batch_owned(&self, orders: Cow<'_, [work::Order]>) -> u64 {
        orders.iter().map(work::Order::pieces).sum()
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

/// One connection. `owned` is for comparison: its server takes the orders of a batch as everybody else's.
#[derive(Clone)]
struct Connection {
    shop: ShopClient,
    owned: bool,
}

pub(crate) async fn connect(hello: &Hello, owned: bool) -> Result<impl Calls> {
    let trust = Trust::pem(hello.certificate_pem()?.as_bytes())?;
    let client = Client::builder()
        .trust(trust)
        .connect(hello.address)
        .await?;
    let shop = ShopClient::new(client);
    Ok(Connection { shop, owned })
}

/// A batch in both forms.
struct Orders {
    borrowed: Vec<Order<'static>>,
    owned: &'static [work::Order],
}

impl Calls for Connection {
    type Order = work::Order;
    type Orders = Orders;
    type Text = &'static str;

    fn make_order(order: &work::Order) -> work::Order {
        order.clone()
    }

    fn make_orders(orders: &'static [work::Order]) -> Orders {
        Orders {
            borrowed: orders
                .iter()
                .map(|order| order.with_strings(String::as_str))
                .collect(),
            owned: orders,
        }
    }

    fn make_text(text: &'static str) -> &'static str {
        text
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(self.shop.add(a, b).await?)
    }

    async fn record(&mut self, order: work::Order) -> Result<work::Order> {
        Ok(self.shop.record(order).await?)
    }

    async fn batch(&mut self, orders: &Orders) -> Result<u64> {
        let call = match self.owned {
            true => self.shop.batch_owned(Cow::Borrowed(orders.owned)),
            false => self.shop.batch(orders.borrowed.clone()),
        };
        Ok(call.await?)
    }

    async fn text(&mut self, text: &&'static str) -> Result<u64> {
        Ok(self.shop.text(text).await?)
    }
}
