use rpc_runtime::RpcError;

#[derive(RpcError)]
union BuyError {
    code: u32,
}

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
