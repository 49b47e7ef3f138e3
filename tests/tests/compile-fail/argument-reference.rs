use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn string(&self, text: &String) -> u32;
    async fn slice(&self, all: &[String]) -> u32;
    async fn texts(&self, all: &[&str]) -> u32;
    async fn array(&self, hash: &[u8; 32]) -> u32;
    async fn number(&self, number: Option<&u32>) -> u32;
    async fn map(&self, all: &std::collections::HashMap<String, u32>) -> u32;
}

fn main() {}
