use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: &str) -> String {
        String::new()
    }
}

fn main() {
    let _ = Client::local(ShopServer::new(Corner));
}
