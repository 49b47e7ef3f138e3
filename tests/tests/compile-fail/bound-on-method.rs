use rpc_runtime::rpc;

#[rpc]
trait Shop<T> {
    async fn buy(&self, what: T)
    where
        T: Ord;
}

fn main() {}
