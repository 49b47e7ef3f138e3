use rpc_runtime::{Client, rpc};

struct Order;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(params)] order: Order) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: Order) -> u32 {
        1
    }
}

async fn call(order: Order) {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy(order).await;
}

fn main() {}
