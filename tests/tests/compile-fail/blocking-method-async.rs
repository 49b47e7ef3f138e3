use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(blocking)]
    async fn buy(&self) -> u32;
}

fn main() {}
