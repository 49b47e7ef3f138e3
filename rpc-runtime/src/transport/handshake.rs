//! The reason why a handshake failed, for the transports that have one.

use crate::transport::error::ConnectionError;

/// The reason why a handshake failed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    Socket(std::io::Error),
    /// The server name is not one that TLS can verify.
    Name,
    /// The server does not support this protocol.
    Alpn,
    /// The server requires a certificate.
    CertificateRequired,
    /// The server rejected the certificate with this TLS alert.
    CertificateRefused(u8),
    /// The server answered the first request with this status of HTTP.
    #[cfg(feature = "http2")]
    Status(u16),
    Lost(ConnectionError),
}

impl HandshakeError {
    /// Returns the error that a TLS alert means, if it is one of these. `by_server` is `true` if the server has sent the alert.
    pub(super) fn of_alert(number: u8, by_server: bool) -> Option<Self> {
        Some(match number {
            alert::NO_APPLICATION_PROTOCOL => Self::Alpn,
            alert::CERTIFICATE_REQUIRED if by_server => Self::CertificateRequired,
            alert::UNKNOWN_CA | alert::ACCESS_DENIED | alert::DECRYPT_ERROR if by_server => {
                Self::CertificateRefused(number)
            }
            number if by_server && alert::CERTIFICATE.contains(&number) => {
                Self::CertificateRefused(number)
            }
            _ => return None,
        })
    }
}

/// The codes of TLS alerts ([RFC 8446, section 6](https://www.rfc-editor.org/rfc/rfc8446#section-6)).
pub(super) mod alert {
    /// The alerts from `bad_certificate` to `certificate_unknown`.
    pub(in crate::transport) const CERTIFICATE: std::ops::RangeInclusive<u8> = 42..=46;
    pub(in crate::transport) const UNKNOWN_CA: u8 = 48;
    pub(in crate::transport) const ACCESS_DENIED: u8 = 49;
    pub(in crate::transport) const DECRYPT_ERROR: u8 = 51;
    pub(in crate::transport) const CERTIFICATE_REQUIRED: u8 = 116;
    pub(in crate::transport) const NO_APPLICATION_PROTOCOL: u8 = 120;
}
