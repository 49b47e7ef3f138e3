use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    async fn sum(&self, values: impl Stream) -> u64;
}

fn main() {}
