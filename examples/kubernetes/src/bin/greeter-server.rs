//! Serves until it receives SIGTERM. Then its health is `NOT_SERVING` for a time, or until another SIGTERM, and it finishes
//! the calls that it has begun.

use std::error::Error;

use kubernetes::{ANNOUNCEMENT, DRAIN, Greeter, GreeterServer, HTTP_PORT, PORT, setting};
use rpc_http::{HttpServer, HttpService};
use rpc_runtime::{Identity, Server, Shutdown};
use tokio::signal::unix::{SignalKind, signal};

struct Pod {
    name: String,
}

impl Greeter for Pod {
    async fn greet(&self, name: &str) -> String {
        format!("Hello, {name}, from {}!", self.name)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let identity = Identity::from_pem_files(
        setting("RPC_CERTIFICATE", "/etc/rpc/tls.crt"),
        setting("RPC_KEY", "/etc/rpc/tls.key"),
    )?;
    let name = setting("POD_NAME", "nowhere");
    let server = Server::builder(identity)
        .service(GreeterServer::new(Pod { name }))
        .bind(setting("RPC_LISTEN", &format!("0.0.0.0:{PORT}")))?;
    // The ingress passes on the host that the client named.
    let host = setting("RPC_HOST", "greeter.example.org");
    let service = HttpService::new(server.services())
        .path("/rpc")
        .allow_hosts([host]);
    let http = HttpServer::new(service)
        .bind(setting("RPC_HTTP_LISTEN", &format!("0.0.0.0:{HTTP_PORT}")))
        .await?;
    println!("listening on {}", server.local_addr()?);
    println!("http listening on {}", http.local_addr()?);
    let handle = server.handle();
    tokio::spawn(http.run());
    let serving = tokio::spawn(server.run());
    terminate.recv().await;
    println!("not serving");
    let announced = Shutdown::within(DRAIN).announced_for(ANNOUNCEMENT);
    // When the server drains, clients learn of it with their next call, and switch to another pod.
    let finished = tokio::select! {
        finished = handle.shutdown(announced) => finished,
        _ = terminate.recv() => handle.shutdown(DRAIN).await,
    };
    serving.await?;
    match finished {
        true => Ok(()),
        false => Err("some calls were cut off".into()),
    }
}
