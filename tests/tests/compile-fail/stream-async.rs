use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    async fn ticks(&self) -> impl Stream<Item = u64>;
}

fn main() {}
