use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

struct Corner;

#[async_trait::async_trait]
impl Shop for Corner {
    async fn buy(&self, _: &str) -> u32 {
        1
    }
}

fn main() {}
