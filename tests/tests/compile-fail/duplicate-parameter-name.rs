use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &str, #[rpc(name = "what")] which: &str);
}

fn main() {}
