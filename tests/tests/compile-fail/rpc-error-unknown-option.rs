use rpc_runtime::RpcError;

#[derive(RpcError)]
#[rpc(rename = "camelCase")]
enum BuyError {
    #[rpc(code = 1, message = "sold out")]
    SoldOut,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
