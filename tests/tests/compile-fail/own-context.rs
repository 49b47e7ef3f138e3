use rpc_runtime::rpc;

mod page {
    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Context {
        pub depth: u32,
    }
}

#[rpc]
trait Pages {
    async fn render(&self, context: &page::Context) -> u32;
}

fn main() {}
