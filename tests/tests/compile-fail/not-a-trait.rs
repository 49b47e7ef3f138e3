use rpc_runtime::rpc;

#[rpc]
struct Shop;

fn main() {}
