use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(params)] items: Vec<u32>, count: u32);
}

fn main() {}
