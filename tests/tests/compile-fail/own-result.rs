use rpc_runtime::rpc;

mod game {
    #[derive(serde::Deserialize, serde::Serialize)]
    pub struct Result {
        pub score: u32,
    }
}

#[rpc]
trait Game {
    async fn play(&self) -> game::Result;
}

fn main() {}
