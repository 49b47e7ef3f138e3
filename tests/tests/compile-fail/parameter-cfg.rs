use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self, #[cfg(unix)] what: &str);
}

fn main() {}
