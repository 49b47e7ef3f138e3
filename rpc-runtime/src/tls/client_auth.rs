//! Verifies clients' certificates, and selects the server's own.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::tls::identity::Identity;
use crate::tls::provider::{provider, verify_signatures};
use crate::tls::trust::{Trust, TrustError, Verifiers};

/// The identity that the server presents to new clients.
#[derive(Debug)]
pub(crate) struct CurrentIdentity(RwLock<Identity>);

impl CurrentIdentity {
    pub(crate) fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(RwLock::new(identity)))
    }

    pub(crate) fn set(&self, identity: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

impl ResolvesServerCert for CurrentIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let identity = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(identity.key())
    }
}

/// Whether the server requests a certificate from its clients.
#[derive(Debug, Default)]
pub(crate) enum ClientAuth {
    #[default]
    None,
    /// A client may have no certificate; one that it has must be trusted.
    Optional(Trust),
    /// A client must have a trusted certificate.
    Required(Trust),
}

pub(crate) fn server_config(
    identity: Arc<CurrentIdentity>,
    client_auth: ClientAuth,
) -> Result<rustls::ServerConfig, TrustError> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TrustError::new)?;
    let (trust, mandatory) = match client_auth {
        ClientAuth::None => return Ok(config.with_no_client_auth().with_cert_resolver(identity)),
        ClientAuth::Optional(trust) => (trust, false),
        ClientAuth::Required(trust) => (trust, true),
    };
    let verifier = ClientVerifier {
        trusted: trust.verifiers(client_verifier)?,
        mandatory,
    };
    let mut config = config
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity);
    // A resumed session keeps its certificate without verifying it again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_verifier(roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map_err(TrustError::new)
}

/// Verifies clients' certificates by rustls's own verifier.
#[derive(Debug)]
struct ClientVerifier {
    trusted: Verifiers<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Returns no hints: they would disclose the server's trust anchors, and a client without hints sends the
    /// certificate that it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.trusted.check(end_entity, |verifier| {
            verifier.verify_client_cert(end_entity, intermediates, now)
        })
    }

    verify_signatures!();
}
