use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(name = "")]
    async fn buy(&self);
}

fn main() {}
