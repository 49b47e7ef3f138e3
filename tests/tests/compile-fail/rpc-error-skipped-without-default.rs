use rpc_runtime::RpcError;

#[derive(Debug)]
struct Token;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("closed")]
#[rpc(code = 1)]
struct Closed {
    #[serde(skip)]
    token: Token,
}

fn main() {}
