use rpc_runtime::{Client, rpc};

#[rpc(namspace = "shop")]
trait Shop {
    async fn buy(&self) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, ) -> u32 {
        1
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy().await;
}

fn main() {}
