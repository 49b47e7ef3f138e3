use std::borrow::Cow;

use rpc_runtime::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("closed: {why}")]
#[rpc(code = 1)]
struct Closed<'a> {
    why: Cow<'a, str>,
}

fn main() {}
