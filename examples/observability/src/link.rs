//! Connects the services: every server has the same layers and metrics, and every client has the same middlewares.

use std::error::Error;
use std::net::SocketAddr;

use rpc_layers::{
    ClientMetrics, ClientOpenTelemetry, MetricsLayer, OpenTelemetryLayer, client_event_metrics,
    server_event_metrics,
};
use rpc_runtime::tls::Certificate;
use rpc_runtime::{Client, Identity, Limits, Server, ServerHandle, Service, Trust};

/// A server that runs.
#[derive(Debug)]
pub struct Served {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// Its certificate.
    pub certificate: Certificate,
    /// Shuts it down.
    pub handle: ServerHandle,
}

/// Serves on a port that the system chooses.
pub fn serve(
    service: impl Service,
    limits: Limits,
) -> Result<Served, Box<dyn Error + Send + Sync>> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let certificate = identity.certificate();
    // The layers see the calls of all services, and of methods that do not exist. The events are those of connections,
    // handshakes and limits.
    let server = Server::builder(identity)
        .layer(OpenTelemetryLayer::new())
        .layer(MetricsLayer::new())
        .on_event(server_event_metrics())
        .limits(limits)
        .service(service)
        .bind("127.0.0.1:0")?;
    let served = Served {
        address: server.local_addr()?,
        certificate,
        handle: server.handle(),
    };
    tokio::spawn(server.run());
    Ok(served)
}

/// Connects to a server.
pub async fn connect(server: &Served) -> Result<Client, Box<dyn Error + Send + Sync>> {
    // The middlewares see each call with all of its attempts. The events are those of connections, retries and waits.
    let client = Client::builder()
        .trust(Trust::certificate(server.certificate.clone()))
        .middleware(ClientOpenTelemetry::new())
        .middleware(ClientMetrics::new())
        .on_event(client_event_metrics());
    Ok(client.connect(server.address).await?)
}
