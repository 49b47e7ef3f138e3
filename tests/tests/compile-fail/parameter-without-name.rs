use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, _: u32);
}

fn main() {}
