use rpc_runtime::{Context, rpc};

#[rpc]
trait Shop {
    async fn buy(&self, #[rpc(default)] cx: &Context);
}

fn main() {}
