use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    async fn zip(&self, left: impl Stream<Item = u64>, right: impl Stream<Item = u64>) -> u64;
}

fn main() {}
