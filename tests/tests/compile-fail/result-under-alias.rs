use rpc_runtime::{ErrorObject, rpc};

type Answer = Result<u8, ErrorObject>;

#[rpc]
trait Shop {
    async fn buy(&self) -> Answer;
}

fn main() {}
