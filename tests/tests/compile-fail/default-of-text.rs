use rpc_runtime::rpc;
use std::borrow::Cow;

#[rpc]
trait Shop {
    async fn sell(&self, #[rpc(default = "a")] item: Cow<'_, str>, #[rpc(default = "a")] to: Option<String>) -> u32;
    async fn name(&self, #[rpc(default = "a")] item: &str, #[rpc(default = Some("a"))] to: Option<&str>) -> u32;
}

fn main() {}
