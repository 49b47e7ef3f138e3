use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, item: _) -> u32;
    async fn sell(&self) -> Vec<_>;
}

fn main() {}
