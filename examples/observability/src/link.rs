//! Connects the services: every service has the same layers, and every client propagates its trace.

use std::error::Error;
use std::net::SocketAddr;

use rpc_layers::{MetricsLayer, OpenTelemetryLayer, propagate};
use rpc_runtime::tls::Certificate;
use rpc_runtime::{Client, Identity, Server, Service, Trust};
use tower::ServiceBuilder;

/// The address of a service, and its certificate.
pub type ServerAddress = (SocketAddr, Certificate);

/// Serves on a port that the system chooses.
pub fn serve(service: impl Service) -> Result<ServerAddress, Box<dyn Error + Send + Sync>> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let certificate = identity.certificate();
    let service = ServiceBuilder::new()
        .layer(OpenTelemetryLayer::new())
        .layer(MetricsLayer::new())
        .service(service);
    let server = Server::builder(identity)
        .service(service)
        .bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    tokio::spawn(server.run());
    Ok((address, certificate))
}

/// Connects to a service.
pub async fn connect(
    (address, certificate): ServerAddress,
) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let client = Client::builder()
        .trust(Trust::certificate(certificate))
        .metadata(propagate);
    Ok(client.connect(address).await?)
}
