use rpc_runtime::rpc;

#[rpc]
unsafe trait Shop {
    async fn buy(&self);
}

fn main() {}
