//! The secret of a server, which is derived from its private key.

use rustls_pki_types::PrivateKeyDer;

use crate::tls::provider::library::{hkdf, hmac};

/// A secret that is derived from the private key, for the keys of the server's own protocols.
#[derive(Clone)]
pub(crate) struct DerivedSecret(hkdf::Prk);

impl DerivedSecret {
    pub(super) fn new(key: &PrivateKeyDer<'_>) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, b"jsonrpc/1").extract(key.secret_der()))
    }

    /// Returns the key of the stateless reset tokens of `replica`
    /// ([RFC 9000, section 10.3](https://www.rfc-editor.org/rfc/rfc9000#section-10.3)). A server that is restarted with the
    /// same identity as the same replica has the same key, so its clients accept the resets. Another replica has another
    /// key, so that nothing that it sends resets a connection of this one.
    pub(crate) fn reset_key(&self, replica: &[u8]) -> hmac::Key {
        let info = [b"stateless reset".as_slice(), b"\0", replica];
        let key = self.0.expand(&info, hmac::HMAC_SHA256);
        key.expect("a digest is as long as HKDF allows").into()
    }
}
