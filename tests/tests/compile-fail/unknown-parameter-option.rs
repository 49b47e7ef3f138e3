use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(optional)] what: &str);
}

fn main() {}
