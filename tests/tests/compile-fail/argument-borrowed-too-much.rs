use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, what: &[String]) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: &[String]) -> u32 {
        1
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy(&[]).await;
}

fn main() {}
