use rpc_runtime::{Client, rpc};

struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self, what: Tea) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: Tea) -> u32 {
        1
    }
}

async fn call(tea: Tea) {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy(tea).await;
}

fn main() {}
