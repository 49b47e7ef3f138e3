//! Prints the spans of two calls as they end, and then the metrics as Prometheus reads them.

use std::error::Error;

use observability::link::{connect, serve};
use observability::services::{Keeper, Shelf, ShopClient, ShopServer, StockClient, StockServer};
use observability::telemetry;
use rpc_runtime::Limits;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (_spans, metrics) = telemetry::install()?;
    let stock = serve(StockServer::new(Shelf), Limits::default())?;
    let stock = StockClient::new(connect(&stock).await?);
    let shop = serve(ShopServer::new(Keeper(stock)), Limits::default())?;
    let shop = ShopClient::new(connect(&shop).await?);
    for item in ["pear", "melon"] {
        let answer = shop.price(item, 3).await;
        println!("{item}: {answer:?}\n");
    }
    print!("{}", metrics.render());
    Ok(())
}
