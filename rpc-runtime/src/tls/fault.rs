//! Describes certificates that cannot be read.

use rustls_pki_types::CertificateDer;
use webpki::{EndEntityCert, Error};

/// Returns what is wrong with the first of the certificates, or `None` if it can be read.
pub(super) fn first(certificates: &[CertificateDer<'_>]) -> Option<String> {
    let error = EndEntityCert::try_from(certificates.first()?).err()?;
    Some(format!("certificate {}", describe(&error)))
}

/// Returns the rest of a sentence about a certificate.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::UnsupportedCertVersion => {
            "is of X.509 version 1, which has no names; make one of version 3 with `openssl req -x509 -addext \
             subjectAltName=DNS:NAME`"
        }
        Error::BadDer
        | Error::BadDerTime
        | Error::TrailingData(_)
        | Error::MalformedExtensions
        | Error::ExtensionValueInvalid => "is damaged",
        Error::UnsupportedCriticalExtension => {
            "has a critical extension that is not supported; make it without that extension"
        }
        Error::NameConstraintViolation => {
            "has names that its authority must not sign; let the authority sign names within its name constraints"
        }
        Error::PathLenConstraintViolated => {
            "has more intermediate authorities than its root allows; use a shorter chain"
        }
        Error::EndEntityUsedAsCa => {
            "is signed by a certificate that is not an authority (CA:FALSE); let an authority sign it"
        }
        error => return format!("is not valid: {error}"),
    }
    .into()
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;
    use crate::tls::der::tag::SEQUENCE;
    use crate::tls::der::tests::element;
    use crate::tls::der::{DerElements, sequence};

    #[test]
    fn certificate_of_version_1_is_named_with_what_to_do() {
        let certificate = crate::Identity::self_signed(["localhost"])
            .unwrap()
            .certificate();
        // Version 1 has neither a version nor extensions.
        let mut parts = sequence(certificate.der()).unwrap();
        let signed = parts.next().unwrap().value;
        let kept: Vec<_> = DerElements(signed)
            .filter(|part| part.tag & 0xe0 != 0xa0)
            .map(|part| element(part.tag, &[part.value]))
            .collect();
        let signed = element(
            SEQUENCE,
            &kept.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        );
        let certificate = element(SEQUENCE, &[&signed, parts.0]);
        let fault = first(&[certificate.into()]).unwrap();
        assert!(
            fault.starts_with("certificate is of X.509 version 1, "),
            "{fault}"
        );
        assert!(fault.contains("`openssl req -x509"), "{fault}");
    }
}
