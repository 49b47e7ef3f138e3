use rpc_runtime::{Client, rpc};

#[derive(serde::Deserialize)]
struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self, what: Option<Tea>) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: Option<Tea>) -> u32 {
        1
    }
}

async fn call(tea: Tea) {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy(Some(tea)).await;
}

fn main() {}
