use rpc_runtime::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
enum WriteError {
    #[error("text")]
    #[rpc(transparent)]
    Text(String),
}

fn main() {}
