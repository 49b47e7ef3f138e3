use rpc_runtime::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("closed")]
#[rpc(code = 1)]
struct Closed;

#[derive(Debug, thiserror::Error, RpcError)]
enum WriteError {
    #[error("read only")]
    #[rpc(code = 1)]
    ReadOnly,
    #[error(transparent)]
    #[rpc(transparent)]
    Closed(Closed),
}

fn main() {}
