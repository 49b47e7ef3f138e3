use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

async fn call(shop: ShopClient) {
    let _ = shop.by("tea").await;
}

fn main() {}
