use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn io(&self) -> std::io::Result<u32>;
    async fn text(&self) -> Result<u32, String>;
    async fn any(&self) -> Result<u32, Box<dyn std::error::Error>>;
}

fn main() {}
