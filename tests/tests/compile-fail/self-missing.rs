use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(what: &str);
}

fn main() {}
