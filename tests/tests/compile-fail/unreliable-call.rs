use rpc_runtime::rpc;

#[rpc]
trait Sensors {
    #[rpc(unreliable)]
    async fn read(&self) -> f64;
}

fn main() {}
