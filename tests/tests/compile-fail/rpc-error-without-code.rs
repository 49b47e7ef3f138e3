use rpc_runtime::{RpcError, rpc};

#[derive(RpcError)]
enum BuyError {
    #[rpc(code = 1)]
    SoldOut,
    Closed,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

#[rpc]
trait Shop {
    async fn buy(&self) -> Result<u32, BuyError>;
}

fn main() {}
