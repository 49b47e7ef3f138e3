use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(notify)]
    async fn buy(&self);
}

fn main() {}
