//! How a client looks at a server's certificate.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;

use super::certificate::sha256;
use super::provider;
use super::trust::anchored;

/// Why a server's certificate was refused.
///
/// ```
/// use rpc_runtime::{Client, ConnectError, Identity, Server, Trust, UntrustedReason};
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
    /// It is for other names than the one that was dialled.
    #[error("the server's certificate is for another name")]
    WrongName,
    /// Its term is over.
    #[error("the server's certificate has expired")]
    Expired,
    /// Its term has not begun.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// Nobody that is trusted has signed it.
    #[error("the server's certificate is not signed by anyone trusted")]
    UnknownIssuer,
    /// It is not the pinned one.
    #[error("the server's certificate is not the pinned one")]
    NotPinned,
    /// Something else is wrong with it.
    #[error("the server's certificate is not acceptable: {0}")]
    Other(String),
}

/// Where a verifier leaves why it refused: QUIC's own error carries no more than TLS's alert.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<UntrustedReason>>>);

impl Verdict {
    pub(crate) fn take(&self) -> Option<UntrustedReason> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, reason: UntrustedReason) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

/// rustls's own verifier, with its verdict kept, and with a pin as another way to name the anchor.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) checked: Checked,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) enum Checked {
    Anchors(Arc<WebPkiServerVerifier>),
    Pin([u8; 32]),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned;
        let inner = match &self.checked {
            Checked::Anchors(inner) => inner,
            Checked::Pin(pin) if sha256(end_entity) == *pin => {
                pinned = anchored([end_entity.clone().into_owned()])
                    .map_err(|error| rustls::Error::General(error.to_string()))?;
                &pinned
            }
            Checked::Pin(_) => {
                self.verdict.set(UntrustedReason::NotPinned);
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        };
        inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .inspect_err(|error| self.verdict.set(reason(error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn reason(error: &rustls::Error) -> UntrustedReason {
    use CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            E::NotValidForName | E::NotValidForNameContext { .. } => UntrustedReason::WrongName,
            E::Expired | E::ExpiredContext { .. } => UntrustedReason::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => UntrustedReason::NotYetValid,
            // A wrong signature is that of an authority that only has a trusted one's name.
            E::UnknownIssuer | E::BadSignature => UntrustedReason::UnknownIssuer,
            error => UntrustedReason::Other(error.to_string()),
        },
        error => UntrustedReason::Other(error.to_string()),
    }
}
