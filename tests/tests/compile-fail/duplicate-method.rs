use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self) -> u32;
    async fn buy(&self, what: &str) -> u32;
}

fn main() {}
