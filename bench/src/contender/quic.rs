//! quinn, set as this framework sets it, so that what differs is what stands above it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;

use super::certificate::Identity;
use crate::process::Hello;

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(8 << 20))
        .send_window(8 << 20)
        .send_fairness(false);
    Arc::new(config)
}

pub(crate) fn listen(identity: &Identity) -> Result<Endpoint> {
    let chain = vec![identity.certificate.clone()];
    let mut config = ServerConfig::with_single_cert(chain, identity.key.clone_key())?;
    config.transport_config(transport());
    Ok(Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?)
}

pub(crate) async fn connect(hello: &Hello) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    roots.add(hello.certificate_der()?)?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport());
    let endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    Ok(endpoint
        .connect_with(config, hello.address, "localhost")?
        .await?)
}
