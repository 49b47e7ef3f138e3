//! Generates self-signed certificates.

use rustls_pki_types::PrivateKeyDer;
use zeroize::{Zeroize, Zeroizing};

use crate::tls::error::TlsError;
use crate::tls::identity::Identity;
use crate::tls::provider::any_supported_type;

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
        let secret = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
        signed.signing_key.zeroize();
        let secret = Zeroizing::new(secret);
        let unusable = |reason| TlsError::KeyPair {
            chain: None,
            key: None,
            reason,
        };
        let signing_key =
            any_supported_type(&secret).map_err(|error| unusable(error.to_string()))?;
        Self::new(vec![signed.cert.der().clone()], &secret, signing_key).map_err(unusable)
    }
}
