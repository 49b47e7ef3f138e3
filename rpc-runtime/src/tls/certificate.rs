//! The public part of an identity.

use std::fmt;

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::tls::provider::library::digest;

/// A certificate, the public part of an [`Identity`](super::Identity).
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
pub struct Certificate {
    der: CertificateDer<'static>,
    sha256: [u8; 32],
}

impl Certificate {
    pub(crate) fn new(der: CertificateDer<'static>) -> Self {
        let sha256 = sha256(&der);
        Self { der, sha256 }
    }

    #[cfg(feature = "server")]
    pub(crate) fn from_der(der: &[u8]) -> Self {
        Self::new(CertificateDer::from(der).into_owned())
    }

    pub(super) fn into_der(self) -> CertificateDer<'static> {
        self.der
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the certificate in PEM, as [`Trust::pem_file`](super::Trust::pem_file) and other tools read it.
    pub fn to_pem(&self) -> String {
        let pem = pem::Pem::new("CERTIFICATE", self.der());
        pem::encode_config(
            &pem,
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// Returns the SHA-256 of the DER, as [`Trust::sha256`](super::Trust::sha256) takes it.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Returns the DNS names among the certificate's subject alternative names.
    ///
    /// ```
    /// use rpc_runtime::Identity;
    ///
    /// let certificate = Identity::self_signed(["localhost", "127.0.0.1"])?.certificate();
    /// assert!(certificate.dns_names().eq(["localhost"]));
    /// # Ok::<(), rpc_runtime::tls::TlsError>(())
    /// ```
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        let parsed = EndEntityCert::try_from(&self.der).into_iter();
        parsed.flat_map(|certificate| certificate.valid_dns_names())
    }

    /// Returns the URIs among the certificate's subject alternative names, such as a workload's SPIFFE ID.
    pub fn uris(&self) -> impl Iterator<Item = &str> {
        let parsed = EndEntityCert::try_from(&self.der).into_iter();
        parsed.flat_map(|certificate| certificate.valid_uri_names())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fingerprint(&self.sha256).fmt(f)
    }
}

/// Shows a SHA-256 in hexadecimal.
pub(super) struct Fingerprint<'a>(pub(super) &'a [u8; 32]);

impl fmt::Debug for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    let mut sha256 = [0; 32];
    sha256
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    sha256
}
