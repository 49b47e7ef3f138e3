//! Verifies a server's certificate, and presents the client's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::sync::OnceCell;

use crate::sync::{Mutex, MutexGuard, lock};
use crate::tls::certificate::sha256;
use crate::tls::error::TlsError;
use crate::tls::exact::{Purpose, verify_itself};
use crate::tls::identity::Identity;
#[cfg(feature = "rustls-config")]
use crate::tls::provider::check_config;
use crate::tls::provider::{provider, verify_signatures};
use crate::tls::trust::{Trust, Verifiers};
use crate::tls::untrusted::{UntrustedReason, untrusted_reason};

/// The results of a handshake that QUIC's own error does not carry, since it has only the TLS alert: the reason why the
/// server was rejected, and whether it requested a certificate.
#[derive(Debug, Clone, Default)]
pub(crate) struct HandshakeResult(Arc<HandshakeResultState>);

#[derive(Debug, Default)]
struct HandshakeResultState {
    reason: Mutex<Option<UntrustedReason>>,
    certificate_requested: AtomicBool,
}

impl HandshakeResult {
    /// Takes the reason why the server's certificate was rejected.
    pub(crate) fn take(&self) -> Option<UntrustedReason> {
        self.reason().take()
    }

    /// Returns `true` if the server requested a certificate.
    pub(crate) fn certificate_was_requested(&self) -> bool {
        self.0.certificate_requested.load(Ordering::Relaxed)
    }

    fn reason(&self) -> MutexGuard<'_, Option<UntrustedReason>> {
        lock(&self.0.reason)
    }
}

/// The trust anchors of a client, with the verifier that is built from them for its first connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerTrust {
    trust: Trust,
    verifier: Arc<OnceCell<Verifier>>,
}

/// Verifies the certificates of servers, for all connections of a client.
#[derive(Debug, Clone)]
pub(crate) enum Verifier {
    /// Verifies against trust anchors.
    Anchors(Anchors),
    /// Verifies as a configuration of rustls does, which also has the client's certificate.
    #[cfg(feature = "rustls-config")]
    Rustls(Arc<rustls::ClientConfig>),
}

/// The verifiers that are built from trust anchors.
pub(crate) type Anchors = Arc<Verifiers<Arc<WebPkiServerVerifier>>>;

impl ServerTrust {
    /// Returns the verifier. An error is not kept, since the authorities of the system may be installed later.
    pub(crate) async fn verifier(&self) -> Result<Verifier, TlsError> {
        let build = || async {
            let trust = self.trust.clone();
            let verifiers = trust.load_verifiers(server_verifier).await?;
            Ok(Verifier::Anchors(Arc::new(verifiers)))
        };
        self.verifier.get_or_try_init(build).await.cloned()
    }
}

impl From<Trust> for ServerTrust {
    fn from(trust: Trust) -> Self {
        Self {
            trust,
            verifier: Arc::default(),
        }
    }
}

#[cfg(feature = "rustls-config")]
impl From<rustls::ClientConfig> for ServerTrust {
    fn from(mut config: rustls::ClientConfig) -> Self {
        // Early data can be replayed, so it must not carry calls.
        config.enable_early_data = false;
        Self {
            trust: Trust::default(),
            verifier: Arc::new(OnceCell::new_with(Some(Verifier::Rustls(Arc::new(config))))),
        }
    }
}

/// Returns a configuration for one connection, and the result that its handshake fills in.
pub(crate) fn client_config(
    verifier: &Verifier,
    identity: Option<Identity>,
) -> Result<(rustls::ClientConfig, HandshakeResult), TlsError> {
    let handshake_result = HandshakeResult::default();
    let trusted = match verifier {
        Verifier::Anchors(anchors) => Arc::clone(anchors),
        #[cfg(feature = "rustls-config")]
        Verifier::Rustls(config) => {
            check_config(config.crypto_provider())?;
            return Ok((rustls::ClientConfig::clone(config), handshake_result));
        }
    };
    let verifier = ServerVerifier {
        trusted,
        handshake_result: handshake_result.clone(),
    };
    let resolver = ClientCertResolver {
        identity,
        handshake_result: handshake_result.clone(),
    };
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::trust_anchors)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(resolver));
    Ok((config, handshake_result))
}

fn server_verifier(roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(TlsError::trust_anchors)
}

/// Presents the client's certificate and records the server's request for it.
#[derive(Debug)]
struct ClientCertResolver {
    identity: Option<Identity>,
    handshake_result: HandshakeResult,
}

impl ResolvesClientCert for ClientCertResolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.handshake_result
            .0
            .certificate_requested
            .store(true, Ordering::Relaxed);
        self.identity.as_ref().map(Identity::key)
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

/// Verifies servers' certificates with rustls's own verifier, or as themselves, and records the result.
#[derive(Debug)]
struct ServerVerifier {
    trusted: Anchors,
    handshake_result: HandshakeResult,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.trusted.check(
            end_entity,
            || {
                verify_itself(end_entity, Purpose::Server, now)?;
                let parsed = ParsedCertificate::try_from(end_entity)?;
                verify_server_name(&parsed, server_name)?;
                Ok(ServerCertVerified::assertion())
            },
            |verifier| {
                verifier.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )
            },
        );
        checked.inspect_err(|error| {
            let reason = untrusted_reason(error, sha256(end_entity));
            *self.handshake_result.reason() = Some(reason);
        })
    }

    verify_signatures!();
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifier_is_built_once_for_all_connections_of_a_client() {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let trust = ServerTrust::from(Trust::certificate(identity.certificate()));
        let first = trust.verifier().await.unwrap();
        let second = trust.clone().verifier().await.unwrap();
        let [first, second] = [first, second].map(|verifier| match verifier {
            Verifier::Anchors(anchors) => anchors,
            #[cfg(feature = "rustls-config")]
            Verifier::Rustls(_) => unreachable!("the client has trust anchors"),
        });
        assert!(Arc::ptr_eq(&first, &second));
    }
}
