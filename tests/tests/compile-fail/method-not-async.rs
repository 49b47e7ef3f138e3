use rpc_runtime::rpc;

#[rpc]
trait Shop {
    fn buy(&self) -> u32;
}

fn main() {}
