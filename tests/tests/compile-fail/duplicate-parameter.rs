use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &str, what: u32) -> u32;
}

fn main() {}
