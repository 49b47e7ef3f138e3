use rpc_runtime::RpcError;

struct Tea;

#[derive(RpcError)]
enum BuyError {
    #[rpc(code = 1)]
    SoldOut { what: Tea },
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
