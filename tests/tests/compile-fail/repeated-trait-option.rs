use rpc_runtime::rpc;

#[rpc(namespace = "shop", namespace = "store")]
trait Shop {
    async fn buy(&self);
}

fn main() {}
