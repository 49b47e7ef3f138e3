use futures_util::{Stream, stream};
use rpc_runtime::rpc;

#[derive(serde::Deserialize)]
struct Tick(u64);

#[rpc]
trait Feed {
    fn ticks(&self) -> impl Stream<Item = Tick>;
}

struct Exchange;

impl Feed for Exchange {
    fn ticks(&self) -> impl Stream<Item = Tick> {
        stream::empty()
    }
}

fn main() {}
