use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    fn ticks(&self) -> impl Stream;
}

fn main() {}
