use futures_util::Stream;
use rpc_runtime::rpc;

#[rpc]
trait Feed {
    #[rpc(notification)]
    async fn note(&self, lines: impl Stream<Item = String>);
}

fn main() {}
