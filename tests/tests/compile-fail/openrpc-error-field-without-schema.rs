use rpc_runtime::{RpcError, rpc};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Tea;

#[derive(RpcError)]
enum NoTea {
    #[rpc(code = 1)]
    Only(Tea),
}

impl std::fmt::Display for NoTea {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no tea")
    }
}

#[rpc(openrpc)]
trait Shop {
    async fn buy(&self) -> Result<u32, NoTea>;
}

fn main() {}
