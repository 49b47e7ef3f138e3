//! The error of certificates, keys and trust anchors.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The error when a certificate, a private key or trust anchors cannot be used.
///
/// The text names the file, what was found in it or why it cannot be read, and what to do, if possible the command. It never
/// contains anything of a private key. The cause is part of it, so no error has a [source](std::error::Error::source).
///
/// ```
/// use rpc_runtime::tls::TlsError;
/// use rpc_runtime::{Identity, Trust};
///
/// match Trust::pem_file("no/such/file.pem") {
///     Err(TlsError::File { path, error }) => println!("{}: {error}", path.display()),
///     other => panic!("{other:?}"),
/// }
/// assert!(matches!(Trust::pem(b"no PEM"), Err(TlsError::Certificate { .. })));
///
/// // Certificates carry ASCII: it would be `xn--mnchen-3ya.example`.
/// let names = Identity::self_signed(["münchen.example"]);
/// assert!(matches!(names, Err(TlsError::Names(_))));
///
/// let certificate = Identity::self_signed(["localhost"])?.certificate().to_pem();
/// let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
/// match Identity::from_pem(certificate.as_bytes(), encrypted) {
///     Err(TlsError::PrivateKey { path: None, reason }) => assert_eq!(
///         reason,
///         "the key in it is encrypted; decrypt it with `openssl pkey -in FILE -out new.key`"
///     ),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), TlsError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file could not be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The PEM text contains no readable certificate.
    #[error("cannot use the certificates{}: {reason}", In(path.as_deref()))]
    Certificate {
        /// The path of the file, or `None` if the text was passed from memory.
        path: Option<PathBuf>,
        /// What was found, and what to do.
        reason: String,
    },
    /// The PEM text contains no readable private key, or one of a kind that TLS does not use here.
    #[error("cannot use the private key{}: {reason}", In(path.as_deref()))]
    PrivateKey {
        /// The path of the file, or `None` if the text was passed from memory.
        path: Option<PathBuf>,
        /// What was found, and what to do.
        reason: String,
    },
    /// A certificate cannot carry these names: use ASCII DNS names and IP addresses.
    #[error("no certificate can be made for these names: {0}")]
    Names(String),
    /// The private key does not belong to the first certificate of the chain, or the two files are swapped.
    #[error(
        "cannot use the private key{} with the certificates{}: {reason}",
        In(key.as_deref()),
        In(chain.as_deref())
    )]
    KeyPair {
        /// The path of the file with the certificates, or `None` if they were passed from memory.
        chain: Option<PathBuf>,
        /// The path of the file with the private key, or `None` if it was passed from memory.
        key: Option<PathBuf>,
        /// What was found, and what to do.
        reason: String,
    },
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
    ///     Err(ConnectError::Trust(error)) => assert_eq!(
    ///         error.to_string(),
    ///         "no usable certificate to trust: the certificate is damaged"
    ///     ),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[error("{0}")]
    TrustAnchors(String),
    /// A configuration of rustls lacks the cipher suite TLS13_AES_128_GCM_SHA256, with which QUIC protects the first packets
    /// ([RFC 9001, section 5.2](https://www.rfc-editor.org/rfc/rfc9001#section-5.2)).
    #[cfg(feature = "rustls-config")]
    #[error(
        "the rustls configuration has no cipher suite TLS13_AES_128_GCM_SHA256, which QUIC requires; add it to its provider"
    )]
    CipherSuites,
}

impl TlsError {
    pub(super) fn trust_anchors(error: impl fmt::Display) -> Self {
        Self::TrustAnchors(error.to_string())
    }
}

/// Shows the file that something is in.
struct In<'a>(Option<&'a Path>);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, " in \"{}\"", path.display()),
            None => Ok(()),
        }
    }
}
