use rpc_runtime::{ErrorObject, RpcError};

#[derive(Debug, thiserror::Error, RpcError)]
enum WriteError {
    #[error("two")]
    #[rpc(transparent)]
    Two(ErrorObject, u8),
    #[error("code")]
    #[rpc(transparent, code = 2)]
    Code(ErrorObject),
}

fn main() {}
