use rpc_runtime::RpcError;

#[derive(RpcError)]
#[rpc(code = 1)]
#[rustfmt::skip]
struct BuyError(
    u8, u8, u8, u8, u8, u8, u8, u8,
    u8, u8, u8, u8, u8, u8, u8, u8,
    u8,
);

impl std::fmt::Display for BuyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no")
    }
}

fn main() {}
