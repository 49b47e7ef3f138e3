use rpc_runtime::rpc;

#[rpc]
trait Shop {
    #[rpc(example(parameters = [3], result = 3))]
    async fn buy(&self, count: u32) -> u32;
}

fn main() {}
