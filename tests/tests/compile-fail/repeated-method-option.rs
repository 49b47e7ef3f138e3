use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(name = "a")]
    #[rpc(name = "b")]
    async fn buy(&self);
}

fn main() {}
