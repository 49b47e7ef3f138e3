use rpc_runtime::{Client, rpc};

#[rpc(namespace = "shop", strict)]
trait Shop {
    async fn buy(&mut self) -> u32;
    #[rpc(notification)]
    async fn sell(&self, what: &str) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&mut self) -> u32 {
        1
    }

    async fn sell(&self, _: &str) -> u32 {
        1
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _: Result<u32, _> = shop.buy().await;
    let _ = shop.sell("tea").await;
}

fn main() {}
