use rpc_runtime::{Client, rpc};

use std::rc::Rc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> usize;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, what: &str) -> usize {
        let what = Rc::new(what);
        std::future::ready(()).await;
        what.len()
    }
}

fn main() {
    let _ = Client::local(ShopServer::new(Corner));
}
