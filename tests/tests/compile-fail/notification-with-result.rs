use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(notification)]
    async fn buy(&self) -> u32;
}

fn main() {}
