//! Who a server is, and whom a client trusts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use thiserror::Error;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server's certificate and its private key.
///
/// ```
/// use rpc_runtime::Identity;
///
/// let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
/// assert!(identity.certificate().to_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<(), rpc_runtime::IdentityError>(())
/// ```
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A new ECDSA P-256 key with a certificate for these DNS names and IP addresses, signed by itself. It does not
    /// expire; clients trust it by [`Trust::certificate`] or [`Trust::sha256`].
    ///
    /// # Errors
    /// A name that no certificate can carry.
    pub fn self_signed<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, IdentityError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let signed = rcgen::generate_simple_self_signed(names)
            .map_err(|error| IdentityError::Names(error.to_string()))?;
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        Ok(Self {
            chain: vec![signed.cert.der().clone()],
            key,
        })
    }

    /// The certificate chain, the server's own first, and the private key (PKCS #8, PKCS #1 or SEC 1) of two PEM files.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate or no key.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, IdentityError> {
        Self::from_pem(&read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// As [`from_pem_files`](Self::from_pem_files), from memory.
    ///
    /// # Errors
    /// PEM text that holds no certificate or no key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = certificates(chain)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| PemError::Key(error.to_string()))?;
        Ok(Self { chain, key })
    }

    /// The server's own certificate, to give to clients.
    pub fn certificate(&self) -> Certificate {
        Certificate(
            self.chain
                .first()
                .cloned()
                .unwrap_or_else(|| Vec::new().into()),
        )
    }

    pub(crate) fn server_config(self) -> Result<rustls::ServerConfig, rustls::Error> {
        rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// Shows the certificate's fingerprint and never the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate())
            .finish_non_exhaustive()
    }
}

/// A certificate: what of an [`Identity`] is public.
///
/// ```
/// use rpc_runtime::{Identity, Trust};
///
/// let certificate = Identity::self_signed(["localhost"])?.certificate();
/// let pem = certificate.to_pem();
/// println!("give the clients this:\n{pem}or only this: {certificate:?}");
///
/// let by_the_text = Trust::pem(pem.as_bytes())?;
/// let by_the_hash = Trust::sha256(certificate.sha256());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate(CertificateDer<'static>);

impl Certificate {
    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The certificate in PEM, as [`Trust::pem_file`] and other tools read it.
    pub fn to_pem(&self) -> String {
        let pem = pem::Pem::new("CERTIFICATE", self.der());
        pem::encode_config(
            &pem,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// The SHA-256 of the DER, as [`Trust::sha256`] takes it.
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.sha256()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut sha256 = [0; 32];
    sha256
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    sha256
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|source| PemError::File {
        path: path.to_owned(),
        source,
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(PemError::Certificate("no certificate in it".into())),
        Err(error) => Err(PemError::Certificate(error.to_string())),
    }
}

/// Why PEM text could not be used.
///
/// ```
/// use rpc_runtime::{PemError, Trust};
///
/// match Trust::pem_file("no/such/file.pem") {
///     Err(PemError::File { path, source }) => println!("{}: {source}", path.display()),
///     other => panic!("{other:?}"),
/// }
/// assert!(matches!(Trust::pem(b"no PEM"), Err(PemError::Certificate(_))));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PemError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no certificate that can be read.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// There is no private key that can be read.
    #[error("not a PEM private key: {0}")]
    Key(String),
}

/// Why there is no [`Identity`].
///
/// ```
/// use rpc_runtime::{Identity, IdentityError, PemError};
///
/// // Certificates carry ASCII: it would be `xn--mnchen-3ya.example`.
/// let names = Identity::self_signed(["münchen.example"]);
/// assert!(matches!(names, Err(IdentityError::Names(_))));
///
/// let certificate = Identity::self_signed(["localhost"])?.certificate();
/// let keyless = Identity::from_pem(certificate.to_pem().as_bytes(), b"");
/// assert!(matches!(keyless, Err(IdentityError::Pem(PemError::Key(_)))));
/// # Ok::<(), IdentityError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The files or texts are not what they should be.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate cannot carry these names.
    #[error("no certificate can be made for these names: {0}")]
    Names(String),
}

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
            .map_err(|error| TrustError(error.to_string()))?
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

fn anchored(
    anchors: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors);
    if roots.is_empty() {
        return Err(TrustError("no usable certificate to trust".into()));
    }
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
        .build()
        .map_err(|error| TrustError(error.to_string()))
}

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
struct Verifier {
    checked: Checked,
    verdict: Verdict,
}

#[derive(Debug)]
enum Checked {
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
