//! Verifies a certificate that is trusted exactly as itself.

use std::sync::Arc;

use rustls::{CertificateError, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::tls::der::purposes;

/// What the peer uses its certificate for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Server,
    #[cfg_attr(not(feature = "server"), expect(dead_code))] // servers verify clients
    Client,
}

impl Purpose {
    fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client => KeyUsage::client_auth(),
        }
    }

    /// Returns the object identifier as it is in an extended key usage
    /// ([RFC 5280, section 4.2.1.12](https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.12)).
    fn oid(self) -> [u8; 8] {
        let last = match self {
            Self::Server => 1,
            Self::Client => 2,
        };
        [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, last]
    }
}

/// Checks the validity period and the purpose of a certificate that the local side has listed or pinned. Whatever signed
/// it adds nothing, and it may be an authority: the peer proves in the handshake that it has the certificate's key, and
/// certificates that this key signed are verified elsewhere.
pub(super) fn verify_itself(
    certificate: &CertificateDer<'_>,
    purpose: Purpose,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let parsed = EndEntityCert::try_from(certificate).map_err(to_rustls_error)?;
    // Without trust anchors, webpki checks all that does not depend on an issuer and then finds none.
    let checked = parsed.verify_for_usage(&[], &[], &[], now, purpose.usage(), None, None);
    match checked.map(drop) {
        Ok(()) | Err(Error::UnknownIssuer) => Ok(()),
        // The validity period has been checked before that, the purpose has not.
        Err(Error::CaUsedAsEndEntity) => match purposes(certificate) {
            Some(purposes) if !purposes.contains(&&purpose.oid()[..]) => {
                Err(CertificateError::InvalidPurpose.into())
            }
            _ => Ok(()),
        },
        Err(error) => Err(to_rustls_error(error)),
    }
}

fn to_rustls_error(error: Error) -> rustls::Error {
    match error {
        Error::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time, not_after }
        }
        Error::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        Error::InvalidCertValidity => CertificateError::Expired,
        Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        error => CertificateError::Other(OtherError(Arc::new(error))),
    }
    .into()
}
