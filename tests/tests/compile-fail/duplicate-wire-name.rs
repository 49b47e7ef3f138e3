use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self);
    #[rpc(name = "buy")]
    async fn purchase(&self);
}

fn main() {}
