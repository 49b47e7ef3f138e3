//! Calls all pods of a headless service, once a second or at the interval in `PAUSE_MS`.

use std::error::Error;
use std::time::Duration;

use kubernetes::{GreeterClient, setting};
use rpc_discovery::{Dns, follow};
use rpc_runtime::{Client, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = setting("RPC_SERVICE", "greeter:4433");
    let pause = Duration::from_millis(setting("PAUSE_MS", "1000").parse()?);
    let trust = Trust::pem_file(setting("RPC_CA", "/etc/rpc/ca.crt"))?;
    let (client, endpoints) = Client::builder()
        .trust(trust)
        .timeout(Duration::from_secs(2))
        .balanced()?;
    // The name has the address of each pod that is ready.
    let pods = Dns::new(service)?.every(Duration::from_secs(5));
    follow(endpoints, pods).await?;
    client.ready().await?;
    let greeter = GreeterClient::new(client);
    loop {
        match greeter.greet("Ada").await {
            Ok(greeting) => println!("{greeting}"),
            Err(error) => eprintln!("{error}"),
        }
        tokio::time::sleep(pause).await;
    }
}
