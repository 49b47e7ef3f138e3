use rpc_runtime::rpc;

#[rpc(namespace = "text")]
#[rpc(rename_all = "camelCase")]
trait Text {
    async fn count_words(&self, text: &str) -> usize;
}

fn main() {
    let _ = TextClient::count_words;
}
