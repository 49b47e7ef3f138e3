use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop<'a, K> {
    type Tea;
    async fn generic<T>(&self, (key, value): (K, &'a T)) -> T;
    async fn sell<T>(&self, what: T, n: u32) -> u32;
    async fn lent(&self, what: &'a str) -> Result<&'a str, K>;
    async fn fine(&self, what: &str) -> u32;
    fn new(self) -> impl Send;
}

async fn call(client: Client) {
    let shop = ShopClient::<u32>::new(client);
    let _ = shop.sell("tea", 1).await;
    let _ = shop.fine("tea").await;
}

fn main() {}
