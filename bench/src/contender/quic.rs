//! quinn with the flow control windows, the fairness and the timeouts of this framework, and at most one other setting, so
//! that the results differ mostly by the layers above quinn.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;

use super::certificate::Identity;
use super::setting::Setting;
use crate::process::Hello;

const IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(5);

fn transport(
    keep_alive: Option<Duration>,
    setting: Option<Setting>,
) -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(IDLE.try_into()?))
        .keep_alive_interval(keep_alive)
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(8 << 20))
        .send_window(8 << 20)
        .send_fairness(false);
    if let Some(setting) = setting {
        setting.apply(&mut config);
    }
    Ok(Arc::new(config))
}

fn endpoint(
    address: Ipv4Addr,
    server: Option<ServerConfig>,
    setting: Option<Setting>,
) -> Result<Endpoint> {
    let socket = UdpSocket::bind(SocketAddr::from((address, 0)))?;
    let mut config = EndpointConfig::default();
    if let Some(setting) = setting {
        setting.endpoint(&mut config)?;
        setting.socket(&socket)?;
    }
    Ok(Endpoint::new(
        config,
        server,
        socket,
        Arc::new(TokioRuntime),
    )?)
}

fn provider(setting: Option<Setting>) -> Arc<CryptoProvider> {
    Arc::new(Setting::provider(setting))
}

pub(crate) fn listen(identity: &Identity, setting: Option<Setting>) -> Result<Endpoint> {
    let chain = vec![identity.certificate.clone()];
    let tls = rustls::ServerConfig::builder_with_provider(provider(setting))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, identity.key.clone_key())?;
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(None, setting)?);
    endpoint(Ipv4Addr::LOCALHOST, Some(config), setting)
}

pub(crate) async fn connect(hello: &Hello, setting: Option<Setting>) -> Result<Connection> {
    let mut roots = RootCertStore::empty();
    roots.add(hello.certificate_der()?)?;
    let tls = rustls::ClientConfig::builder_with_provider(provider(setting))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(Some(KEEP_ALIVE), setting)?);
    let endpoint = endpoint(Ipv4Addr::UNSPECIFIED, None, setting)?;
    Ok(endpoint
        .connect_with(config, hello.address, "localhost")?
        .await?)
}
