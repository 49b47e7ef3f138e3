use rpc_runtime::{Base64, rpc};

#[rpc]
trait Shop {
    async fn store(&self, picture: Base64<&[u8]>);
    async fn store_some(&self, pictures: Vec<Base64<&[u8]>>);
}

fn main() {}
