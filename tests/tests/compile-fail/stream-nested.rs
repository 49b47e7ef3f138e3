use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    async fn sum(&self, values: Option<impl Stream<Item = u64>>) -> u64;
}

fn main() {}
