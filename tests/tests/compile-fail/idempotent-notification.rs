use rpc_runtime::rpc;

#[rpc]
trait Sensors {
    #[rpc(notification, idempotent)]
    async fn report(&self, celsius: f64);
}

fn main() {}
