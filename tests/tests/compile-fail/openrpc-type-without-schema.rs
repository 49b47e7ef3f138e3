use rpc_runtime::rpc;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Tea;

#[rpc(openrpc)]
trait Shop {
    async fn buy(&self, what: Tea) -> u32;
}

fn main() {}
