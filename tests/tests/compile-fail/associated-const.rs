use rpc_runtime::rpc;

#[rpc]
trait Shop {
    const PRICE: u32;

    async fn buy(&self) -> u32;
}

fn main() {}
