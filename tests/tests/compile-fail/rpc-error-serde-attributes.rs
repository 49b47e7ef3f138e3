use rpc_runtime::RpcError;

#[derive(Debug, thiserror::Error, RpcError)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum LoginError {
    #[error("locked")]
    #[rpc(code = 1)]
    Locked {
        #[serde(with = "hex")]
        hash: Vec<u8>,
        #[serde(skip_serializing)]
        password: String,
        #[serde(rename(serialize = "a", deserialize = "b"))]
        user: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_after: Option<u32>,
    },
    #[error("internal")]
    #[rpc(code = 2)]
    #[serde(skip)]
    Internal { token: String },
}

fn main() {}
