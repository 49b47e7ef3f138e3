use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(default = "one")] count: u32);
}

fn main() {}
