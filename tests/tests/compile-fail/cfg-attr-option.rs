use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[cfg_attr(all(), doc = "Buys.", rpc(name = "purchase"))]
    async fn buy(&self, #[cfg_attr(any(), rpc(default))] what: u32) -> u32;
}

fn main() {}
