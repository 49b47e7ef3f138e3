//! The error of certificates, keys and trust anchors.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The error when a certificate, a private key or trust anchors cannot be used.
///
/// ```
/// use rpc_runtime::tls::TlsError;
/// use rpc_runtime::{Identity, Trust};
///
/// match Trust::pem_file("no/such/file.pem") {
///     Err(TlsError::File { path, source }) => println!("{}: {source}", path.display()),
///     other => panic!("{other:?}"),
/// }
/// assert!(matches!(Trust::pem(b"no PEM"), Err(TlsError::Certificate(_))));
///
/// // Certificates carry ASCII: it would be `xn--mnchen-3ya.example`.
/// let names = Identity::self_signed(["münchen.example"]);
/// assert!(matches!(names, Err(TlsError::Names(_))));
///
/// let certificate = Identity::self_signed(["localhost"])?.certificate();
/// let keyless = Identity::from_pem(certificate.to_pem().as_bytes(), b"");
/// assert!(matches!(keyless, Err(TlsError::PrivateKey(_))));
/// # Ok::<(), TlsError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The PEM text contains no readable certificate.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// The PEM text contains no readable private key.
    #[error("not a PEM private key: {0}")]
    PrivateKey(String),
    /// A certificate cannot carry these names: use ASCII DNS names and IP addresses.
    #[error("no certificate can be made for these names: {0}")]
    Names(String),
    /// The private key does not belong to the certificate, or is of a kind that TLS does not use.
    #[error("the certificate and its key cannot be used: {0}")]
    KeyPair(String),
    /// A [`Trust`](crate::Trust) contains no certificate that can be a trust anchor. PEM text is not checked for that
    /// when it is read, so connecting and binding return this error, as
    /// [`ConnectError::Trust`](crate::ConnectError::Trust) and [`BindError::Trust`](crate::BindError::Trust).
    ///
    /// ```
    /// use rpc_runtime::{Client, ConnectError, Trust};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), rpc_runtime::tls::TlsError> {
    /// let trust = Trust::pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
    /// match Client::builder().trust(trust).connect("127.0.0.1:4433").await {
    ///     Err(ConnectError::Trust(error)) => assert_eq!(error.to_string(), "no usable certificate to trust"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[error("{0}")]
    TrustAnchors(String),
}

impl TlsError {
    pub(super) fn trust_anchors(error: impl fmt::Display) -> Self {
        Self::TrustAnchors(error.to_string())
    }
}
