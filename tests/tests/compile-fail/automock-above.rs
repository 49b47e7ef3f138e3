use rpc_runtime::rpc;

#[mockall::automock]
#[rpc]
trait Shop {
    async fn buy(&self, what: &str) -> u32;
}

fn main() {}
