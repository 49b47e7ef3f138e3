use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy<T: Send>(&self, what: T) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy<T: Send>(&self, _: T) -> u32 {
        1
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy("tea").await;
}

fn main() {}
