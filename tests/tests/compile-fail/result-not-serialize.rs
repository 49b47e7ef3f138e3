use rpc_runtime::{Client, rpc};

struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self) -> Tea;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, ) -> Tea {
        Tea
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy().await;
}

fn main() {}
