//! Verifies a server's certificate, and presents the client's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;

use crate::sync::{Mutex, MutexGuard, lock};
use crate::tls::error::TlsError;
use crate::tls::fault::describe;
use crate::tls::identity::Identity;
use crate::tls::itself::{Purpose, verify_itself};
use crate::tls::provider::{provider, verify_signatures};
use crate::tls::trust::{Trust, Verifiers};

/// The reason why the client rejected a server's certificate.
///
/// ```
/// use rpc_runtime::tls::UntrustedReason;
/// use rpc_runtime::{Client, ConnectError, Identity, Server, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::self_signed(["example.org"])?;
/// let trust = Trust::certificate(identity.certificate());
/// let server = Server::builder(identity).bind("127.0.0.1:0")?;
/// let address = server.local_addr()?;
/// tokio::spawn(server.run());
///
/// // The certificate is for another name than 127.0.0.1.
/// let refused = Client::builder().trust(trust.clone()).connect(address).await;
/// assert!(matches!(refused, Err(ConnectError::Untrusted(UntrustedReason::WrongName))));
/// // It is known under which name the server is to be found:
/// Client::builder().trust(trust).server_name("example.org").connect(address).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UntrustedReason {
    /// The certificate is for names other than that of the server to which the client connected.
    #[error(
        "the server's certificate is for another name; connect under a name in it, or pass one as the server name"
    )]
    WrongName,
    /// The certificate has no subject alternative names, so it is valid for no server. Its common name does not count
    /// ([RFC 9525, section 2](https://www.rfc-editor.org/rfc/rfc9525#section-2)).
    #[error(
        "the server's certificate has no subject alternative names, and its common name does not count; make one with \
         `openssl req -x509 -addext subjectAltName=DNS:NAME`"
    )]
    NoNames,
    /// The certificate has expired.
    #[error("the server's certificate has expired; renew it, or correct the clock of this machine")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the server's certificate is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// No trusted authority has signed the certificate.
    #[error(
        "the server's certificate is not signed by anyone trusted; trust its authority, or the certificate itself"
    )]
    UnknownIssuer,
    /// The certificate is not the pinned one.
    #[error(
        "the server's certificate is not the pinned one; if it was replaced, pin the SHA-256 of the new one"
    )]
    NotPinned,
    /// The certificate is an authority (`CA:TRUE`), as the one that `openssl req -x509` makes, and it is not trusted as
    /// itself: see [`Trust::certificate`](crate::Trust::certificate), [`Trust::pem_file`](crate::Trust::pem_file) and
    /// [`Trust::sha256`](crate::Trust::sha256).
    #[error(
        "the server's certificate is that of an authority (CA:TRUE) and is not trusted as itself; trust exactly this \
         certificate, or make one with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
    )]
    Authority,
    /// The extended key usage of the certificate does not contain the authentication of servers.
    #[error(
        "the server's certificate is not made for servers; make one with `extendedKeyUsage=serverAuth`, or without this \
         extension"
    )]
    WrongPurpose,
    /// The certificate is invalid for another reason.
    #[error("the server's certificate is not acceptable: {0}")]
    Other(String),
}

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

fn untrusted_reason(error: &rustls::Error) -> UntrustedReason {
    use CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            E::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                UntrustedReason::NoNames
            }
            E::NotValidForName | E::NotValidForNameContext { .. } => UntrustedReason::WrongName,
            E::Expired | E::ExpiredContext { .. } => UntrustedReason::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => UntrustedReason::NotYetValid,
            // The signature is wrong if the issuer only shares its name with a trusted authority.
            E::UnknownIssuer | E::BadSignature => UntrustedReason::UnknownIssuer,
            E::ApplicationVerificationFailure => UntrustedReason::NotPinned,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => UntrustedReason::WrongPurpose,
            E::Other(OtherError(error)) => match error.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => UntrustedReason::Authority,
                Some(error) => UntrustedReason::Other(describe(error)),
                None => UntrustedReason::Other(error.to_string()),
            },
            error => UntrustedReason::Other(error.to_string()),
        },
        error => UntrustedReason::Other(error.to_string()),
    }
}
