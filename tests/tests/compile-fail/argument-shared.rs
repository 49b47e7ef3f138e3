use std::sync::Arc;

use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: Arc<str>) -> u32;
}

fn main() {}
