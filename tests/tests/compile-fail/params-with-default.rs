use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(params, default)] items: Vec<u32>);
}

fn main() {}
