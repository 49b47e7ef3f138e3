//! The TLS settings of a server: how it verifies certificates of clients, and which certificate it presents.

use std::fmt;
use std::sync::Arc;

use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WantsServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, DistinguishedName, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::tls::error::TlsError;
use crate::tls::exact::{Purpose, verify_itself};
use crate::tls::identity::Identity;
#[cfg(feature = "rustls-config")]
use crate::tls::provider::check_config;
use crate::tls::provider::{provider, verify_signatures};
use crate::tls::trust::{Trust, Verifiers};

/// The TLS settings of a server, except for its certificate and key.
#[derive(Clone)]
pub(crate) enum ServerTls {
    Identity {
        builder: ConfigBuilder<ServerConfig, WantsServerCert>,
        /// `true` if clients may resume their sessions.
        resumes: bool,
    },
    /// A configuration of rustls, which has its own certificate and key.
    #[cfg(feature = "rustls-config")]
    Rustls(Arc<ServerConfig>),
}

impl ServerTls {
    pub(crate) fn new(client_auth: ClientAuth) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::trust_anchors)?;
        let (trust, mandatory) = match client_auth {
            ClientAuth::None => {
                return Ok(Self::Identity {
                    builder: builder
                        .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
                    resumes: true,
                });
            }
            ClientAuth::Optional(trust) => (trust, false),
            ClientAuth::Required(trust) => (trust, true),
            #[cfg(feature = "rustls-config")]
            ClientAuth::Rustls(config) => {
                check_config(config.crypto_provider())?;
                return Ok(Self::Rustls(config));
            }
        };
        let verifier = ClientVerifier {
            trusted: trust.verifiers(client_verifier)?,
            mandatory,
        };
        Ok(Self::Identity {
            builder: builder.with_client_cert_verifier(Arc::new(verifier)),
            // If a session were resumed, the client's certificate would not be verified again.
            resumes: false,
        })
    }

    /// Returns the configuration of a server with this identity. Sessions of one configuration are not resumed with
    /// another.
    pub(crate) fn config(&self, identity: &Identity) -> ServerConfig {
        let (builder, resumes) = match self {
            Self::Identity { builder, resumes } => (builder.clone(), *resumes),
            #[cfg(feature = "rustls-config")]
            Self::Rustls(config) => return ServerConfig::clone(config),
        };
        let presented = Arc::new(PresentedKey(identity.key()));
        let mut config = builder.with_cert_resolver(presented);
        if !resumes {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config
    }

    /// Returns `true` if the server presents the certificate of its identity.
    pub(crate) fn presents_identity(&self) -> bool {
        matches!(self, Self::Identity { .. })
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The certificate and key that a server presents to all clients.
#[derive(Debug)]
struct PresentedKey(Arc<CertifiedKey>);

impl ResolvesServerCert for PresentedKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The server's policy for certificates of its clients.
#[derive(Debug, Default)]
pub(crate) enum ClientAuth {
    /// The server requests no certificate.
    #[default]
    None,
    /// A client may present no certificate. If it presents one, the certificate must be trusted.
    Optional(Trust),
    /// A client must present a trusted certificate.
    Required(Trust),
    /// The policy is that of a configuration of rustls.
    #[cfg(feature = "rustls-config")]
    Rustls(Arc<ServerConfig>),
}

fn client_verifier(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(TlsError::trust_anchors)
}

/// Verifies clients' certificates with rustls's verifier, or as themselves.
#[derive(Debug)]
struct ClientVerifier {
    trusted: Verifiers<Arc<dyn ClientCertVerifier>>,
    /// `true` if a client without a certificate is rejected.
    mandatory: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Returns no hints. Hints would disclose the server's trust anchors, and a client needs none: it presents the
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
        self.trusted.check(
            end_entity,
            || {
                verify_itself(end_entity, Purpose::Client, now)
                    .map(|()| ClientCertVerified::assertion())
            },
            |verifier| verifier.verify_client_cert(end_entity, intermediates, now),
        )
    }

    verify_signatures!();
}
