use rpc_runtime::rpc;

#[rpc(namespace = "rpc")]
trait Shop {
    async fn buy(&self);
    async fn sell(&self);
}

fn main() {}
