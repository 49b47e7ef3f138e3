use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self) -> Result<u32, Box<dyn std::error::Error>>;
}

fn main() {}
