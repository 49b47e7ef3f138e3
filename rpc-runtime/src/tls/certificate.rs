//! What of an identity is public.

use std::fmt;

use rustls_pki_types::CertificateDer;

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
pub struct Certificate(pub(super) CertificateDer<'static>);

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

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut sha256 = [0; 32];
    sha256
        .iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    sha256
}
