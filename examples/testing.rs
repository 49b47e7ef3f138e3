//! Tests of a service and of a program that calls one, without a socket, a port or a certificate.
//!
//! `cargo test --example testing` runs them. `docs/testing.md` describes the ways to test.

use std::time::Duration;

use rpc_runtime::{CallError, Client, ErrorObject, rpc};

/// The service under test.
#[rpc]
trait Orders {
    /// Orders an item at its current price, and returns the price.
    async fn order(&self, item: &str) -> Result<u32, ErrorObject>;
}

/// Another service, which the service under test calls.
#[rpc]
#[cfg_attr(test, mockall::automock)]
trait Prices {
    #[rpc(idempotent)]
    async fn price(&self, item: &str) -> Option<u32>;
}

struct Shop {
    prices: PricesClient,
}

impl Orders for Shop {
    async fn order(&self, item: &str) -> Result<u32, ErrorObject> {
        // The deadline of the order also limits this call. Its failure is passed on with `?`.
        let price = self.prices.price(item).await?;
        price.ok_or_else(|| ErrorObject::new(404, format!("{item} is not sold")))
    }
}

/// The application's own code that calls the service.
async fn order_all(orders: &OrdersClient, items: &[&str]) -> Result<u32, CallError<ErrorObject>> {
    let mut sum = 0;
    for item in items {
        sum += orders.order(item).timeout(Duration::from_secs(2)).await?;
    }
    Ok(sum)
}

#[tokio::main]
async fn main() {
    struct Fixed;

    impl Prices for Fixed {
        async fn price(&self, item: &str) -> Option<u32> {
            (item == "tea").then_some(4)
        }
    }

    let prices = PricesClient::new(Client::local(PricesServer::new(Fixed)));
    let orders = OrdersClient::new(Client::local(OrdersServer::new(Shop { prices })));
    println!("{:?}", order_all(&orders, &["tea", "tea"]).await);
    println!("the tests of this program: cargo test --example testing");
}

#[cfg(test)]
mod tests {
    use rpc_runtime::testing::Link;
    use rpc_runtime::{Identity, Server, Trust, code};

    use super::*;

    /// Returns a client of the service under test, whose prices come from `mock`.
    fn orders(mock: MockPrices) -> Client {
        let prices = PricesClient::new(Client::local(PricesServer::new(mock)));
        Client::local(OrdersServer::new(Shop { prices }))
    }

    fn price_of_tea() -> MockPrices {
        let mut mock = MockPrices::new();
        mock.expect_price()
            .returning(|item| Box::pin(std::future::ready((item == "tea").then_some(4))));
        mock
    }

    #[tokio::test]
    async fn order_costs_the_current_price() {
        let orders = OrdersClient::new(orders(price_of_tea()));
        assert_eq!(order_all(&orders, &["tea", "tea"]).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn item_without_a_price_is_not_found() {
        let orders = OrdersClient::new(orders(price_of_tea()));
        let failed = orders.order("coffee").await.unwrap_err();
        assert_eq!(failed.code(), Some(404));
    }

    /// Sends a request that a client in another language could send.
    #[tokio::test]
    async fn item_that_is_no_text_is_rejected() {
        let client = orders(MockPrices::new());
        let rejected = client.call::<u32, _>("order", &[7]).await.unwrap_err();
        assert_eq!(rejected.code(), Some(code::INVALID_PARAMS));
        let by_name = serde_json::json!({ "item": 7 });
        let rejected = client.call::<u32, _>("order", &by_name).await.unwrap_err();
        assert_eq!(rejected.code(), Some(code::INVALID_PARAMS));
    }

    /// Waits two seconds of tokio's clock, which take no time.
    #[tokio::test(start_paused = true)]
    async fn order_fails_in_time_if_prices_do_not_answer() {
        let mut mock = MockPrices::new();
        mock.expect_price()
            .returning(|_| Box::pin(std::future::pending()));
        let orders = OrdersClient::new(orders(mock));
        let failed = order_all(&orders, &["tea"]).await.unwrap_err();
        assert!(matches!(failed, CallError::Timeout), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn order_survives_a_lost_connection_to_the_prices() {
        let link = Link::new();
        link.set_latency(Duration::from_millis(20));
        let client = Client::builder().local_through(&link, PricesServer::new(price_of_tea()));
        let shop = Shop {
            prices: PricesClient::new(client),
        };
        let orders = OrdersClient::new(Client::local(OrdersServer::new(shop)));
        assert_eq!(orders.order("tea").await.unwrap(), 4);
        link.disconnect();
        assert_eq!(orders.order("tea").await.unwrap(), 4);
    }

    /// Uses a socket and TLS, for what a connection in memory does not have, such as certificates.
    #[tokio::test]
    async fn order_arrives_over_the_network() {
        let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
        let trust = Trust::certificate(identity.certificate());
        let prices = PricesClient::new(Client::local(PricesServer::new(price_of_tea())));
        let service = OrdersServer::new(Shop { prices });
        let server = Server::builder(identity)
            .service(service)
            .bind("127.0.0.1:0")
            .unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run());
        let client = Client::builder()
            .trust(trust)
            .connect(address)
            .await
            .unwrap();
        assert_eq!(OrdersClient::new(client).order("tea").await.unwrap(), 4);
    }
}
