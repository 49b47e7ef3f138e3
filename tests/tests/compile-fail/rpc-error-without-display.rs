use rpc_runtime::RpcError;

#[derive(RpcError)]
enum BuyError {
    #[rpc(code = 1)]
    SoldOut,
}

fn main() {}
