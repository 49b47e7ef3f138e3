use rpc_runtime::rpc;

#[derive(serde::Deserialize, serde::Serialize)]
struct Tea<'a> {
    name: &'a str,
}

#[rpc]
trait Shop {
    async fn buy(&self) -> Tea<'_>;
}

fn main() {}
