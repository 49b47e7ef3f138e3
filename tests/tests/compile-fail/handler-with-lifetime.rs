use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async fn buy(&self) -> u32;
}

struct Corner<'a>(&'a str);

impl Shop for Corner<'_> {
    async fn buy(&self) -> u32 {
        1
    }
}

fn main() {}
