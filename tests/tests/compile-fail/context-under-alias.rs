use rpc_runtime::rpc;

type Cx = rpc_runtime::Context;

#[rpc]
trait Shop {
    async fn buy(&self, cx: &Cx) -> u32;
}

fn main() {}
