use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&mut self);
}

fn main() {}
