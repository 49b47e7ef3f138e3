use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self) -> impl Send;
}

fn main() {}
