//! Serves several services on one port, and calls all of them over one connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc_runtime::{Client, Identity, Server, Trust, rpc};

#[rpc(namespace = "users")]
trait Users {
    async fn name(&self, id: u32) -> Option<String>;
}

#[rpc(namespace = "carts", rename_all = "camelCase")]
trait Carts {
    /// Adds an item to a cart. On the wire the method is `carts.addItem`.
    async fn add_item(&self, user_id: u32, item: &str) -> usize;
}

struct Directory;

impl Users for Directory {
    async fn name(&self, id: u32) -> Option<String> {
        (id == 1).then(|| "Ada".to_owned())
    }
}

#[derive(Default)]
struct Shop {
    items: AtomicUsize,
}

impl Carts for Shop {
    async fn add_item(&self, user_id: u32, item: &str) -> usize {
        println!("user {user_id} takes a {item}");
        self.items.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity::self_signed(["localhost"])?;
    let server = Server::builder(identity.clone())
        .service(UsersServer::new(Directory))
        .service(CartsServer::new(Shop::default()))
        .bind("localhost:0")?;
    let (port, handle) = (server.local_addr()?.port(), server.handle());
    tokio::spawn(server.run());

    let trust = Trust::sha256(identity.certificate().sha256());
    let client = Client::builder()
        .trust(trust)
        .connect(format!("localhost:{port}"))
        .await?;
    let (users, carts) = (
        UsersClient::new(client.clone()),
        CartsClient::new(client.clone()),
    );

    // Both calls are in flight at the same time.
    let (name, items) = tokio::join!(users.name(1), carts.add_item(1, "pear"));
    println!("{:?} has {} item(s)", name?, items?);

    client.close().await;
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
