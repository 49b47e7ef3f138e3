use rpc_runtime::rpc;

#[rpc]
trait Shop<'a> {
    async fn buy(&self, what: &'a str);
}

fn main() {}
