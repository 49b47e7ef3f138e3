//! quinn, set as this framework sets it, so that what differs is what stands above it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::process::Hello;

/// A certificate that signs itself, and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Identity {
    pub(crate) fn new() -> Result<Self> {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        Ok(Self {
            certificate: signed.cert.der().clone(),
            key: PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into()),
            certificate_pem: signed.cert.pem(),
            key_pem: signed.signing_key.serialize_pem(),
        })
    }
}

impl Hello {
    pub(crate) fn certificate_pem(&self) -> Result<&str> {
        self.certificate
            .as_deref()
            .context("the server has no certificate")
    }

    pub(crate) fn certificate_der(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(
            self.certificate_pem()?.as_bytes(),
        )?)
    }
}

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
