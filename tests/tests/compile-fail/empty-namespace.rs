use rpc_runtime::rpc;

#[rpc(namespace = "")]
trait Shop {
    async fn buy(&self);
}

fn main() {}
