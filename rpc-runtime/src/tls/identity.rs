//! Identities: a certificate chain and its private key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use crate::tls::certificate::Certificate;
use crate::tls::diagnosis::argument;
use crate::tls::error::TlsError;
use crate::tls::pem::{Pem, read};
use crate::tls::provider::any_supported_type;
#[cfg(feature = "server")]
use crate::tls::secret::DerivedSecret;
use crate::tls::{fault, key_kind};

/// A certificate and its private key.
///
/// `Debug` shows the certificate's SHA-256 and hides the key. The bytes of the key are overwritten with zeros after it
/// has been read, as far as the cryptographic library allows: it keeps a copy for signing, which is not overwritten.
///
/// ```
/// use rpc_runtime::Identity;
///
/// let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
/// assert!(identity.certificate().to_pem().starts_with("-----BEGIN CERTIFICATE-----"));
/// # Ok::<(), rpc_runtime::tls::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    #[cfg(feature = "server")]
    secret: DerivedSecret,
}

impl Identity {
    /// Reads the certificate chain and the private key (PKCS #8, PKCS #1 or SEC 1) from two PEM files.
    ///
    /// The first certificate of the chain is the end-entity certificate, which the private key belongs to. The authority
    /// that signed it follows, and so on; the root is not needed. A chain in another order is an error, since other
    /// programs would reject it, too. The first private key that is not encrypted is used. Other sections, such as
    /// `EC PARAMETERS`, are ignored, and so are a byte-order mark of UTF-8 and the kind of the line ends.
    ///
    /// OpenSSL makes a self-signed certificate, which clients trust with [`Trust::pem_file`](crate::Trust::pem_file):
    ///
    /// ```sh
    /// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out chain.pem -days 365 \
    ///     -subj /CN=server -addext subjectAltName=DNS:example.org,IP:192.0.2.1 -addext basicConstraints=critical,CA:FALSE
    /// ```
    ///
    /// # Errors
    /// Fails if a file cannot be read, contains no certificate or no key, the key is encrypted or of a kind that TLS does
    /// not use, or the key does not belong to the first certificate. The error names the file, what was found in it, and
    /// what to do.
    ///
    /// ```
    /// use rpc_runtime::Identity;
    ///
    /// let folder = std::env::temp_dir();
    /// let error = Identity::from_pem_files(folder.join("absent.pem"), folder.join("absent.key"));
    /// assert!(error.unwrap_err().to_string().contains("absent.pem: "));
    /// ```
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let (chain_text, key_text) = (read(chain)?, read(key)?);
        Self::read(
            &Pem::new(Some(chain), &chain_text),
            &Pem::new(Some(key), &key_text),
        )
    }

    /// Reads the certificate chain and the private key from memory, like [`from_pem_files`](Self::from_pem_files).
    ///
    /// # Errors
    /// Fails like [`from_pem_files`](Self::from_pem_files), with errors that name no file.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::read(&Pem::new(None, chain), &Pem::new(None, key))
    }

    fn read(chain: &Pem<'_>, key: &Pem<'_>) -> Result<Self, TlsError> {
        let pair_error = |reason| TlsError::KeyPair {
            chain: chain.path(),
            key: key.path(),
            reason,
        };
        if chain.has_only_keys() && key.has_only_certificates() {
            let swapped = "the private key was passed as the certificates and the other way round; swap the two";
            return Err(pair_error(swapped.into()));
        }
        let certificates = chain.certificates()?;
        let secret = Zeroizing::new(key.private_key()?);
        let signing_key = any_supported_type(&secret)
            .map_err(|_| key.key_error(key_kind::unusable(&secret, &argument(key.path))))?;
        if let Some(fault) = fault::first(&certificates) {
            return Err(chain.certificate_error(format!("the first {fault}")));
        }
        if let Some(public_key) = signing_key.public_key() {
            check_order(&certificates, &public_key).map_err(pair_error)?;
        }
        Self::new(certificates, &secret, signing_key).map_err(pair_error)
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        #[cfg_attr(not(feature = "server"), expect(unused_variables))] secret: &PrivateKeyDer<'_>,
        signing_key: Arc<dyn SigningKey>,
    ) -> Result<Self, String> {
        #[cfg(feature = "server")]
        let secret = DerivedSecret::new(secret);
        let key = CertifiedKey::new(chain, signing_key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(error.to_string()),
        }
        Ok(Self {
            key: Arc::new(key),
            #[cfg(feature = "server")]
            secret,
        })
    }

    /// Returns the end-entity certificate, for the peers that are to trust it.
    pub fn certificate(&self) -> Certificate {
        let own = self.key.cert.first().cloned();
        Certificate::new(own.unwrap_or_else(|| Vec::new().into()))
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    #[cfg(feature = "server")]
    pub(crate) fn secret(&self) -> DerivedSecret {
        self.secret.clone()
    }
}

/// Checks that the first certificate is the one for the key.
fn check_order(
    chain: &[CertificateDer<'_>],
    public_key: &SubjectPublicKeyInfoDer<'_>,
) -> Result<(), String> {
    let fits = |certificate: &CertificateDer<'_>| {
        EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.subject_public_key_info() == *public_key)
    };
    match chain.iter().position(fits) {
        Some(0) => Ok(()),
        Some(place) => Err(format!(
            "the certificates are in the wrong order, the key belongs to number {}; put that one first, then the \
             authority that signed it, and so on",
            place + 1
        )),
        None => Err(
            "the key belongs to none of the certificates; pass the key that the first certificate was made for".into(),
        ),
    }
}

/// Shows the certificate's fingerprint and hides the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate())
            .finish_non_exhaustive()
    }
}
