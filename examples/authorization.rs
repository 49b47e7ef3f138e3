//! Authorizes calls by the certificate that the client presents (mutual TLS).

use std::collections::HashSet;
use std::time::Duration;

use rpc_runtime::{CallError, Client, Context, Identity, RpcError, Server, Trust, rpc};

#[rpc]
trait Stock {
    async fn count(&self, item: &str) -> u32;
    async fn order(&self, cx: &Context, item: &str) -> Result<String, Denied>;
}

#[derive(Debug, thiserror::Error, RpcError)]
#[rpc(code = 403)]
#[error("your certificate does not allow it")]
struct Denied;

struct Warehouse {
    /// The SHA-256 fingerprints of the certificates of the clients that may order.
    buyers: HashSet<[u8; 32]>,
}

impl Stock for Warehouse {
    async fn count(&self, item: &str) -> u32 {
        item.len() as u32
    }

    async fn order(&self, cx: &Context, item: &str) -> Result<String, Denied> {
        match cx.peer_certificate() {
            Some(caller) if self.buyers.contains(&caller.sha256()) => Ok(format!("a {item}, sent")),
            _ => Err(Denied),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Identity::self_signed(["shop"])?;
    let audit = Identity::self_signed(["audit"])?;
    let buyers = HashSet::from([shop.certificate().sha256()]);
    let known = Trust::certificate(shop.certificate()).or(Trust::certificate(audit.certificate()));

    let identity = Identity::self_signed(["127.0.0.1"])?;
    let client = Client::builder().trust(Trust::certificate(identity.certificate()));
    let server = Server::builder(identity)
        .require_client_certificate(known)
        .service(StockServer::new(Warehouse { buyers }))
        .bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());

    // A client without a known certificate cannot connect.
    if let Err(error) = client.clone().connect(address).await {
        println!("no certificate: {error}");
    }
    let as_shop = client.clone().identity(shop).connect(address).await?;
    println!("shop: {}", StockClient::new(as_shop).order("pot").await?);

    let as_audit = StockClient::new(client.identity(audit).connect(address).await?);
    println!("audit: {} in stock", as_audit.count("pot").await?);
    match as_audit.order("pot").await {
        Err(CallError::Application(denied)) => println!("audit: {denied}"),
        other => println!("{other:?}"),
    }
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
