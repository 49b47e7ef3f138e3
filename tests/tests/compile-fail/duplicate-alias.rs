use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self);
    #[rpc(alias = "buy")]
    async fn sell(&self);
}

fn main() {}
