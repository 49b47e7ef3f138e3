use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, what: &mut String);
}

fn main() {}
