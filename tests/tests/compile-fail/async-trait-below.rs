use rpc_runtime::rpc;

#[rpc]
#[async_trait::async_trait]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

fn call(client: rpc_runtime::Client) {
    let _ = ShopClient::new(client).buy("tea");
}

fn main() {}
