//! This framework, over QUIC. All settings are the defaults, but for at most one.

use std::borrow::Cow;
use std::sync::LazyLock;

use anyhow::Result;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use rpc_http::HttpServer;
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Client, Identity, Limits, Server, TransportSettings, Trust, rpc};
use tokio::task::JoinSet;

use super::driven::Driven;
use super::setting::Setting;
use crate::caller::{self, Calls, Clock, Record};
use crate::process::{Hello, announce};
use crate::work::{self, Reading, check};

/// An order whose strings are borrowed, on the server from the received bytes.
type Order<'a> = work::Order<&'a str>;

#[rpc]
trait Shop {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn record(&self, order: work::Order) -> work::Order;
    async fn batch(&self, orders: Vec<Order<'_>>) -> u64;
    async fn batch_owned(&self, orders: Cow<'_, [work::Order]>) -> u64;
    async fn text(&self, text: &str) -> u64;
    async fn large(&self) -> &str;
    fn items(&self) -> impl Stream<Item = Reading>;
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

    async fn large(&self) -> &str {
        &LARGE
    }

    fn items(&self) -> impl Stream<Item = Reading> {
        stream::iter(Reading::all())
    }
}

/// The result of `large`, 1 MiB of text.
static LARGE: LazyLock<String> = LazyLock::new(|| work::text(1 << 20));

fn transport(setting: Option<Setting>) -> TransportSettings {
    let defaults = TransportSettings::default();
    match setting {
        Some(Setting::MaxMtu(bytes)) => defaults.max_mtu(bytes),
        _ => defaults,
    }
}

pub(crate) async fn serve(setting: Option<Setting>) -> Result<()> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let certificate = identity.certificate().to_pem();
    let server = Server::builder(identity)
        .service(ShopServer::new(Desk))
        .transport(transport(setting))
        .bind("127.0.0.1:0")?;
    announce(server.local_addr()?, Some(certificate))?;
    server.run().await;
    Ok(())
}

/// Serves HTTP/1.1, HTTP/2 and WebSocket, in plaintext. As with jsonrpsee, the client may have many connections.
pub(crate) async fn serve_http() -> Result<()> {
    let limits = Limits {
        max_connections_per_address: 4096,
        ..Limits::default()
    };
    let services = ServiceSet::builder()
        .service(ShopServer::new(Desk))
        .limits(limits)
        .build()?;
    let listener = HttpServer::new(services).bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?, None)?;
    listener.run().await;
    Ok(())
}

/// One connection. With `owned`, for comparison, the server decodes the orders of a batch into owned values, as the
/// servers of the other frameworks do.
#[derive(Clone)]
struct Connection {
    shop: ShopClient,
    owned: bool,
}

pub(crate) async fn connect(
    hello: &Hello,
    owned: bool,
    setting: Option<Setting>,
) -> Result<impl Calls> {
    let shop = shop(hello, setting).await?;
    Ok(Connection { shop, owned })
}

async fn shop(hello: &Hello, setting: Option<Setting>) -> Result<ShopClient> {
    let trust = Trust::pem(hello.certificate_pem()?.as_bytes())?;
    let client = Client::builder()
        .trust(trust)
        .transport(transport(setting))
        .connect(hello.address)
        .await?;
    Ok(ShopClient::new(client))
}

/// The connection on which large replies arrive one after the other while other calls are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Large {
    /// There are no large replies.
    Nowhere,
    /// On another connection.
    Apart,
    /// On the same connection.
    Beside,
}

/// Runs callers over one connection while large replies arrive. Records the large replies in `replies`.
pub(crate) async fn call_with_large(driven: &Driven, large: Large, replies: &Record) -> Result<()> {
    let shop = shop(&driven.hello, None).await?;
    let mut receiver = JoinSet::new();
    let source = match large {
        Large::Nowhere => None,
        Large::Apart => Some(self::shop(&driven.hello, None).await?),
        Large::Beside => Some(shop.clone()),
    };
    if let Some(source) = source {
        receiver.spawn(receive_large(source, Clock::new(&driven.phase, replies)));
    }
    let connection = Connection { shop, owned: false };
    let Driven {
        load,
        phase,
        record,
        ..
    } = driven;
    caller::call(
        vec![connection],
        load.workload,
        load.in_flight,
        phase,
        record,
    )
    .await?;
    while let Some(ended) = receiver.join_next().await {
        ended??;
    }
    Ok(())
}

async fn receive_large(shop: ShopClient, mut clock: Clock) -> Result<()> {
    while clock.goes_on() {
        check(shop.large().await? == *LARGE)?;
    }
    Ok(())
}

/// A batch with borrowed and with owned orders.
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

    async fn items(&mut self) -> Result<BoxStream<'static, Result<Reading>>> {
        Ok(self.shop.items().err_into().boxed())
    }
}
