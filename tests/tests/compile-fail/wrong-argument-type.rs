use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, count: u32) -> u32;
}

async fn call(shop: ShopClient) {
    let _ = shop.buy("tea").await;
}

fn main() {}
