use std::sync::Arc;

use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self) -> u32;
}

fn choose(_: Arc<dyn Shop>) {}

fn main() {}
