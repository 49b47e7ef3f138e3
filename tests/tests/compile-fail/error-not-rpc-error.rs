use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self) -> Result<u32, std::io::Error>;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, ) -> Result<u32, std::io::Error> {
        Ok(1)
    }
}

async fn call() {
    let shop = ShopClient::new(Client::local(ShopServer::new(Corner)));
    let _ = shop.buy().await;
}

fn main() {}
