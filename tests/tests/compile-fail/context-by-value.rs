use rpc_runtime::{Context, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, cx: Context) -> u32;
}

fn main() {}
