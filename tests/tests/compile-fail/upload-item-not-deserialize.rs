use futures_util::Stream;
use rpc_runtime::rpc;

#[derive(serde::Serialize)]
struct Tick(u64);

#[rpc]
trait Feed {
    async fn last(&self, ticks: impl Stream<Item = Tick>) -> u64;
}

struct Exchange;

impl Feed for Exchange {
    async fn last(&self, _: impl Stream<Item = Tick> + Send) -> u64 {
        0
    }
}

fn main() {}
