use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, (what, count): (String, u32)) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, (_, count): (String, u32)) -> u32 {
        count
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy((String::new(), 1)).await;
}

fn main() {}
