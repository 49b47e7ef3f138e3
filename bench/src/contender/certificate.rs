//! Certificates for the contenders that encrypt and do not make their own.

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::process::Hello;

/// A self-signed certificate and its key.
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
