use rpc_runtime::rpc;

#[rpc]
trait Keys {
    async fn verify(&self, signature: [u8; 64], more: Option<Vec<[u8; 33]>>) -> [u8; 40];
}

fn main() {}
