use rpc_runtime::{Client, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

struct Corner;

impl Shop for Corner {
    async fn buy(&self, _: &str) -> u32 {
        1
    }
}

fn main() {
    let _ = Client::local(Corner);
}
