use rpc_runtime::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("closed: {why:?}")]
#[rpc(code = 1)]
struct Closed {
    why: Option<&'static str>,
}

fn main() {}
