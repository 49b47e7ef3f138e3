use rpc_runtime::rpc;

#[rpc]
trait Bakery {
    async fn into(&self, shape: &str) -> u32;
    async fn try_into(&self) -> u32;
    async fn r#into_iter(&self) -> u32;
    async fn clone(&self) -> u32;
}

fn main() {}
