use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &'static str);
}

fn main() {}
