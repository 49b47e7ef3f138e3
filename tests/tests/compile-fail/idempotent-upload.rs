use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    #[rpc(idempotent)]
    async fn sum(&self, values: impl Stream<Item = u64>) -> u64;
}

fn main() {}
