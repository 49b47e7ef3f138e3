use rpc_runtime::rpc;

#[derive(serde::Deserialize, serde::Serialize)]
struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self, what: Option<&Tea>) -> u32;
}

fn main() {}
