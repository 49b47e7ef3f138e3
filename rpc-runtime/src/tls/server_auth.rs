//! Verifies a server's certificate, and presents the client's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::sync::{Mutex, MutexGuard, lock};
use crate::tls::error::TlsError;
use crate::tls::identity::Identity;
use crate::tls::itself::{Purpose, verify_itself};
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
    pub(crate) fn was_asked(&self) -> bool {
        self.0.certificate_requested.load(Ordering::Relaxed)
    }

    fn reason(&self) -> MutexGuard<'_, Option<UntrustedReason>> {
        lock(&self.0.reason)
    }
}

/// Returns a configuration for one connection, and the result that its handshake fills in.
pub(crate) fn client_config(
    trust: Trust,
    identity: Option<Identity>,
) -> Result<(rustls::ClientConfig, HandshakeResult), TlsError> {
    let handshake_result = HandshakeResult::default();
    let verifier = ServerVerifier {
        trusted: trust.verifiers(server_verifier)?,
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

fn server_verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
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
    trusted: Verifiers<Arc<WebPkiServerVerifier>>,
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
        checked.inspect_err(|error| *self.handshake_result.reason() = Some(untrusted_reason(error)))
    }

    verify_signatures!();
}
