use rpc_runtime::RpcError;

#[derive(RpcError)]
enum BuyError {
    #[rpc(code = 1)]
    SoldOut(#[rpc(name = "item")] String),
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
