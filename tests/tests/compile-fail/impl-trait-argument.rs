use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: impl Into<String>);
}

fn main() {}
