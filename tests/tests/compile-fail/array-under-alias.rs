use rpc_runtime::rpc;

type Signature = [u8; 64];

#[rpc]
trait Shop {
    async fn sign(&self, signature: Signature);
}

fn main() {}
