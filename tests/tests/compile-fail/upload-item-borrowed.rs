use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    async fn count<'a>(&self, lines: impl Stream<Item = &'a str>) -> u64;
}

fn main() {}
