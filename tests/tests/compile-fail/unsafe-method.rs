use rpc_runtime::rpc;

#[rpc]
trait Shop {
    async unsafe fn buy(&self);
}

fn main() {}
