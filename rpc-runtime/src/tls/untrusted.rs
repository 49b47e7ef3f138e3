//! The reasons to reject a server's certificate.

use rustls::{CertificateError, OtherError};
use thiserror::Error;

use crate::tls::fault::describe;

/// The reason why the client rejected a server's certificate.
///
/// ```
/// use rpc_runtime::tls::UntrustedReason;
/// use rpc_runtime::{Client, ConnectError, Identity, Server, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::self_signed(["example.org"])?;
/// let trust = Trust::certificate(identity.certificate());
/// let server = Server::builder(identity).bind("127.0.0.1:0")?;
/// let address = server.local_addr()?;
/// tokio::spawn(server.run());
///
/// // The certificate is for another name than 127.0.0.1.
/// let refused = Client::builder().trust(trust.clone()).connect(address).await;
/// assert!(matches!(refused, Err(ConnectError::Untrusted(UntrustedReason::WrongName))));
/// // It is known under which name the server is to be found:
/// Client::builder().trust(trust).server_name("example.org").connect(address).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UntrustedReason {
    /// The certificate is for names other than that of the server to which the client connected.
    #[error(
        "the server's certificate is for another name; connect under a name in it, or pass one as the server name"
    )]
    WrongName,
    /// The certificate has no subject alternative names, so it is valid for no server. Its common name does not count
    /// ([RFC 9525, section 2](https://www.rfc-editor.org/rfc/rfc9525#section-2)).
    #[error(
        "the server's certificate has no subject alternative names, and its common name does not count; make one with \
         `openssl req -x509 -addext subjectAltName=DNS:NAME`"
    )]
    NoNames,
    /// The certificate has expired.
    #[error("the server's certificate has expired; renew it, or correct the clock of this machine")]
    Expired,
    /// The certificate is not valid yet.
    #[error("the server's certificate is not valid yet; compare the clocks of both machines")]
    NotYetValid,
    /// No trusted authority has signed the certificate.
    #[error(
        "the server's certificate is not signed by a trusted authority; trust its authority, or the certificate itself"
    )]
    UnknownIssuer,
    /// The certificate is not the pinned one.
    #[error(
        "the server's certificate is not the pinned one; if it was replaced, pin the SHA-256 of the new one"
    )]
    NotPinned,
    /// The certificate is an authority (`CA:TRUE`), as the one that `openssl req -x509` makes, and it is not trusted as
    /// itself: see [`Trust::certificate`](crate::Trust::certificate), [`Trust::pem_file`](crate::Trust::pem_file) and
    /// [`Trust::sha256`](crate::Trust::sha256).
    #[error(
        "the server's certificate is that of an authority (CA:TRUE) and is not trusted as itself; trust exactly this \
         certificate, or make one with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
    )]
    Authority,
    /// The extended key usage of the certificate does not contain the authentication of servers.
    #[error(
        "the server's certificate is not made for servers; make one with `extendedKeyUsage=serverAuth`, or without this \
         extension"
    )]
    WrongPurpose,
    /// The certificate is invalid for another reason.
    #[error("the server's certificate is not acceptable: {0}")]
    Other(String),
}

pub(super) fn untrusted_reason(error: &rustls::Error) -> UntrustedReason {
    use CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            E::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                UntrustedReason::NoNames
            }
            E::NotValidForName | E::NotValidForNameContext { .. } => UntrustedReason::WrongName,
            E::Expired | E::ExpiredContext { .. } => UntrustedReason::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => UntrustedReason::NotYetValid,
            // The signature is wrong if the issuer only shares its name with a trusted authority.
            E::UnknownIssuer | E::BadSignature => UntrustedReason::UnknownIssuer,
            E::ApplicationVerificationFailure => UntrustedReason::NotPinned,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => UntrustedReason::WrongPurpose,
            E::Other(OtherError(error)) => match error.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => UntrustedReason::Authority,
                Some(error) => UntrustedReason::Other(describe(error)),
                None => UntrustedReason::Other(error.to_string()),
            },
            error => UntrustedReason::Other(error.to_string()),
        },
        error => UntrustedReason::Other(error.to_string()),
    }
}
