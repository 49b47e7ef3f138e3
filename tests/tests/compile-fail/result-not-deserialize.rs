use rpc_runtime::{Client, rpc};

#[derive(serde::Serialize)]
struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self) -> Vec<Tea>;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, ) -> Vec<Tea> {
        vec![Tea]
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy().await;
}

fn main() {}
