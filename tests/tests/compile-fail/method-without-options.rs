use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc]
    async fn buy(&self);
}

fn main() {}
