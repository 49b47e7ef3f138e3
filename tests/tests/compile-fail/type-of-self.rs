use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, item: Option<Self::Item>) -> u32;
    async fn sell(&self) -> Result<Self::Money, rpc_runtime::ErrorObject>;
}

fn main() {}
