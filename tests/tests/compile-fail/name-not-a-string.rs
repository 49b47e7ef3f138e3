use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(name = buy)]
    async fn buy(&self);
}

fn main() {}
