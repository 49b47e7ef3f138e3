//! Identities: a certificate chain and its private key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ring::{hkdf, hmac};
use rustls::InconsistentKeys;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::tls::certificate::Certificate;
use crate::tls::error::TlsError;
use crate::tls::pem::{certificates, read};

/// A certificate and its private key.
///
/// `Debug` shows the certificate's SHA-256 and hides the key. The bytes of the key are overwritten with zeros after it
/// has been read, as far as the cryptographic library allows: ring keeps a copy for signing, which is not overwritten.
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
    reset_key: hmac::Key,
}

impl Identity {
    /// Generates an ECDSA P-256 key and a self-signed certificate for these DNS names and IP addresses. The certificate
    /// does not expire; the peer trusts it through [`Trust::certificate`](super::Trust::certificate) or
    /// [`Trust::sha256`](super::Trust::sha256).
    ///
    /// # Errors
    /// Fails if a certificate cannot carry one of the names.
    pub fn self_signed<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TlsError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let mut signed = rcgen::generate_simple_self_signed(names)
            .map_err(|error| TlsError::Names(error.to_string()))?;
        let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        signed.signing_key.zeroize();
        Self::new(vec![signed.cert.der().clone()], key)
    }

    /// Reads the certificate chain, the end-entity certificate first, and the private key (PKCS #8, PKCS #1 or SEC 1)
    /// from two PEM files.
    ///
    /// # Errors
    /// Fails if a file cannot be read, contains no certificate or no key, or the key does not belong to the
    /// certificate.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let chain = read(chain.as_ref())?;
        let key = Zeroizing::new(read(key.as_ref())?);
        Self::from_pem(&chain, &key)
    }

    /// Reads the certificate chain and the private key from memory, like [`from_pem_files`](Self::from_pem_files).
    ///
    /// # Errors
    /// Fails if the text contains no certificate or no key, or the key does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::PrivateKey(error.to_string()))?;
        Self::new(chain, key)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let unusable = |reason: &dyn fmt::Display| TlsError::KeyPair(reason.to_string());
        let key = Zeroizing::new(key);
        let reset_key = derive_reset_key(&key).map_err(|error| unusable(&error))?;
        let signing_key = any_supported_type(&key).map_err(|error| unusable(&error))?;
        let key = CertifiedKey::new(chain, signing_key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(unusable(&error)),
        }
        Ok(Self {
            key: Arc::new(key),
            reset_key,
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

    /// Returns the key of the server's stateless reset tokens
    /// ([RFC 9000, section 10.3](https://www.rfc-editor.org/rfc/rfc9000#section-10.3)). A server that is restarted with
    /// the same identity has the same key, so its clients accept the resets.
    pub(crate) fn reset_key(&self) -> hmac::Key {
        self.reset_key.clone()
    }
}

fn derive_reset_key(key: &PrivateKeyDer<'_>) -> Result<hmac::Key, ring::error::Unspecified> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"jsonrpc/1");
    let secret = salt.extract(key.secret_der());
    let key = secret.expand(&[b"stateless reset"], hmac::HMAC_SHA256)?;
    Ok(key.into())
}

/// Shows the certificate's fingerprint and hides the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate())
            .finish_non_exhaustive()
    }
}
