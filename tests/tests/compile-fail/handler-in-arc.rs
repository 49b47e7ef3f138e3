use std::sync::Arc;

use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self) -> u32 {
        1
    }
}

fn main() {
    let _ = Client::local(ShopServer::new(Arc::new(Corner)));
}
