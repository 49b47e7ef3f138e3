use rpc_runtime::rpc;

#[rpc(rename_all = "camel")]
trait Shop {
    async fn buy(&self);
}

fn main() {}
