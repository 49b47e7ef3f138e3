use futures_util::Stream;
use rpc_runtime::{ErrorObject, rpc};

#[rpc]
trait Feed {
    fn ticks(&self) -> Result<impl Stream<Item = u64>, ErrorObject>;
}

fn main() {}
