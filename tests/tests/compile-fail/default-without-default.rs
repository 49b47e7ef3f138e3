use rpc_runtime::rpc;

#[derive(serde::Deserialize, serde::Serialize)]
struct Tea;

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(default)] what: Tea);
}

fn main() {}
