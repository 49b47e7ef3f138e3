//! Whom somebody believes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use super::certificate::Certificate;
use super::pem::{PemError, certificates, read};
use super::provider;
use super::server_auth::{Checked, Verdict, Verifier};

/// Whom a client believes. There is no way to believe everybody.
///
/// ```
/// use rpc_runtime::{Identity, Trust};
///
/// let server = Identity::self_signed(["localhost"])?;
/// let exactly_this_one = Trust::certificate(server.certificate());
/// let the_same_by_its_hash = Trust::sha256(server.certificate().sha256());
/// # Ok::<(), rpc_runtime::IdentityError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trust(Anchor);

#[derive(Debug, Clone)]
enum Anchor {
    System,
    Certificates(Vec<CertificateDer<'static>>),
    Sha256([u8; 32]),
}

impl Trust {
    /// The authorities that the operating system trusts. The default.
    pub fn system() -> Self {
        Self(Anchor::System)
    }

    /// The authorities, or the self-signed servers, of a PEM file.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub fn pem_file(path: impl AsRef<Path>) -> Result<Self, PemError> {
        Self::pem(&read(path.as_ref())?)
    }

    /// As [`pem_file`](Self::pem_file), from memory.
    ///
    /// # Errors
    /// PEM text that holds no certificate.
    pub fn pem(pem: &[u8]) -> Result<Self, PemError> {
        certificates(pem).map(Anchor::Certificates).map(Self)
    }

    /// This authority, or this self-signed server.
    pub fn certificate(certificate: Certificate) -> Self {
        Self(Anchor::Certificates(vec![certificate.0]))
    }

    /// The self-signed server whose certificate has this SHA-256 ([`Certificate::sha256`]). Its names and its term
    /// are checked as any other's.
    pub fn sha256(sha256: [u8; 32]) -> Self {
        Self(Anchor::Sha256(sha256))
    }

    fn verifier(self) -> Result<Verifier, TrustError> {
        let anchors = match self.0 {
            Anchor::Sha256(pin) => {
                return Ok(Verifier {
                    checked: Checked::Pin(pin),
                    verdict: Verdict::default(),
                });
            }
            Anchor::Certificates(certificates) => certificates,
            Anchor::System => rustls_native_certs::load_native_certs().certs,
        };
        let inner = anchored(anchors)?;
        Ok(Verifier {
            checked: Checked::Anchors(inner),
            verdict: Verdict::default(),
        })
    }

    /// A configuration for one connection, and where its verdict on the server's certificate will stand.
    pub(crate) fn client_config(self) -> Result<(rustls::ClientConfig, Verdict), TrustError> {
        let verifier = self.verifier()?;
        let verdict = verifier.verdict.clone();
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TrustError::new)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok((config, verdict))
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::system()
    }
}

/// What a client is to trust cannot be trusted: the system has no authorities, or what was called a certificate is
/// none. Connecting shows it, as [`ConnectError::Trust`](crate::ConnectError::Trust).
///
/// ```
/// use rpc_runtime::{Client, ConnectError, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::PemError> {
/// // PEM text says nothing about what is in it.
/// let trust = Trust::pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
/// match Client::builder().trust(trust).connect("127.0.0.1:4433").await {
///     Err(ConnectError::Trust(error)) => assert_eq!(error.to_string(), "no usable certificate to trust"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TrustError(String);

impl TrustError {
    pub(super) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

pub(super) fn anchored(
    anchors: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors);
    if roots.is_empty() {
        return Err(TrustError("no usable certificate to trust".into()));
    }
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map_err(TrustError::new)
}
