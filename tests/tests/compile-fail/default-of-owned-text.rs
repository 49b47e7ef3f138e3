use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(default = "pear")] what: String) -> u32;
}

fn main() {}
