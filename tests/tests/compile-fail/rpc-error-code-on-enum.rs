use rpc_runtime::RpcError;

#[derive(RpcError)]
#[rpc(code = 1)]
enum BuyError {
    #[rpc(code = 2)]
    SoldOut,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
