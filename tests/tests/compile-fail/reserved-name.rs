use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(name = "rpc.buy")]
    async fn buy(&self);
}

fn main() {}
