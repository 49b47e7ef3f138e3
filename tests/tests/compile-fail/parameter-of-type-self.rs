use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn merge(&self, other: &Self);
}

fn main() {}
