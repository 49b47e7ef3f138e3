use rpc_runtime::rpc;

#[rpc]
#[serde(rename_all = "camelCase")]
trait Shop {
    #[serde(rename = "purchase")]
    async fn buy(&self, #[serde(default)] count: u32, #[serde(rename = "of")] what: &str) -> u32;
    #[serde(alias = "vend")]
    async fn sell(&self, #[serde(with = "hex")] what: &str) -> u32;
}

fn main() {}
