use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn new(&self);
}

fn main() {}
