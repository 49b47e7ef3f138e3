//! tonic over HTTP/2, with generated protobuf.

use anyhow::Result;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{
    Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig,
};
use tonic::{Request, Response, Status};

use self::proto::shop_client::ShopClient;
use self::proto::shop_server::{Shop, ShopServer};
use self::proto::{Count, Line, Nothing, Order, Orders, Reading, Sum, Terms, Words};
use super::certificate;
use crate::caller::Calls;
use crate::process::{Hello, announce};
use crate::work;

#[allow(unreachable_pub)] // tonic's build writes it
mod proto {
    tonic::include_proto!("shop");
}

/// HTTP/2's own windows of 64 KB are smaller than the arguments; these are quinn's here.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Frames of 16 KB cut large arguments into many; measured to be a tenth slower.
const FRAME: u32 = 1 << 20;

struct Desk;

#[tonic::async_trait]
impl Shop for Desk {
    async fn add(&self, request: Request<Terms>) -> Result<Response<Sum>, Status> {
        let Terms { a, b } = request.into_inner();
        Ok(Response::new(Sum { sum: a + b }))
    }

    async fn record(&self, request: Request<Order>) -> Result<Response<Order>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn batch(&self, request: Request<Orders>) -> Result<Response<Count>, Status> {
        let orders = &request.get_ref().orders;
        let lines = orders.iter().flat_map(|order| &order.lines);
        let count = lines.map(|line| u64::from(line.quantity)).sum();
        Ok(Response::new(Count { count }))
    }

    async fn text(&self, request: Request<Words>) -> Result<Response<Count>, Status> {
        let count = request.get_ref().text.len() as u64;
        Ok(Response::new(Count { count }))
    }

    type ItemsStream = BoxStream<'static, Result<Reading, Status>>;

    async fn items(&self, _: Request<Nothing>) -> Result<Response<Self::ItemsStream>, Status> {
        let readings = work::Reading::all().map(|reading| Ok(Reading::from(reading)));
        Ok(Response::new(stream::iter(readings).boxed()))
    }
}

pub(crate) async fn serve(tls: bool) -> Result<()> {
    let mut server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    let mut certificate = None;
    if tls {
        let identity = certificate::Identity::new()?;
        let pair = Identity::from_pem(&identity.certificate_pem, &identity.key_pem);
        server = server.tls_config(ServerTlsConfig::new().identity(pair))?;
        certificate = Some(identity.certificate_pem);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?, certificate)?;
    // The builder's own `TCP_NODELAY` is not for listeners that it did not bind.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(server
        .add_service(ShopServer::new(Desk))
        .serve_with_incoming(incoming)
        .await?)
}

pub(crate) async fn connect(hello: &Hello) -> Result<impl Calls> {
    let scheme = if hello.certificate.is_some() {
        "https"
    } else {
        "http"
    };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", hello.address))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME);
    if let Some(pem) = &hello.certificate {
        let trusted = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(trusted.domain_name("localhost"))?;
    }
    Ok(ShopClient::new(endpoint.connect().await?))
}

impl Calls for ShopClient<Channel> {
    type Order = Order;
    type Orders = Orders;
    type Text = String;

    fn make_order(order: &work::Order) -> Order {
        order.into()
    }

    fn make_orders(orders: &'static [work::Order]) -> Orders {
        let orders = orders.iter().map(Order::from).collect();
        Orders { orders }
    }

    fn make_text(text: &'static str) -> String {
        text.to_owned()
    }

    async fn add(&mut self, a: i64, b: i64) -> Result<i64> {
        Ok(ShopClient::add(self, Terms { a, b })
            .await?
            .into_inner()
            .sum)
    }

    async fn record(&mut self, order: Order) -> Result<Order> {
        Ok(ShopClient::record(self, order).await?.into_inner())
    }

    async fn batch(&mut self, orders: &Orders) -> Result<u64> {
        Ok(ShopClient::batch(self, orders.clone())
            .await?
            .into_inner()
            .count)
    }

    async fn text(&mut self, text: &String) -> Result<u64> {
        let text = text.clone();
        Ok(ShopClient::text(self, Words { text })
            .await?
            .into_inner()
            .count)
    }

    async fn items(&mut self) -> Result<BoxStream<'static, Result<work::Reading>>> {
        let items = ShopClient::items(self, Nothing {}).await?.into_inner();
        Ok(items.map_ok(work::Reading::from).err_into().boxed())
    }
}

impl From<work::Reading> for Reading {
    fn from(reading: work::Reading) -> Self {
        let work::Reading {
            at,
            device,
            celsius,
        } = reading;
        Self {
            at,
            device,
            celsius,
        }
    }
}

impl From<Reading> for work::Reading {
    fn from(reading: Reading) -> Self {
        let Reading {
            at,
            device,
            celsius,
        } = reading;
        Self {
            at,
            device,
            celsius,
        }
    }
}

impl From<&work::Order> for Order {
    fn from(order: &work::Order) -> Self {
        let lines = order.lines.iter().map(|line| Line {
            sku: line.sku.clone(),
            title: line.title.clone(),
            quantity: line.quantity,
            price: line.price,
            discount: line.discount,
        });
        Self {
            id: order.id,
            customer: order.customer.clone(),
            email: order.email.clone(),
            created: order.created.clone(),
            address: order.address.clone(),
            currency: order.currency.clone(),
            note: order.note.clone(),
            total: order.total,
            lines: lines.collect(),
        }
    }
}
