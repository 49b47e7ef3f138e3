//! The reasons to reject a server's certificate.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::{CertificateError, OtherError};
use rustls_pki_types::UnixTime;
use thiserror::Error;

use crate::codec::escape::{Escaped, EscapedMessage};
use crate::tls::certificate::Fingerprint;
use crate::tls::fault::describe;

/// The reason why the client rejected a server's certificate.
///
/// The text says what was found in the certificate, and what to do. Names in the certificate are escaped and truncated.
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
/// let Err(ConnectError::Untrusted(UntrustedReason::WrongName { expected, presented, .. })) = refused else {
///     panic!("{refused:?}");
/// };
/// assert_eq!((expected.as_str(), presented), ("127.0.0.1", vec!["example.org".to_owned()]));
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
        "the server's certificate is for {}, and not for {}; connect under a name in it, or pass one as the server name",
        Names(.presented),
        Escaped(.expected)
    )]
    #[non_exhaustive]
    WrongName {
        /// The name to which the client connected, or the name that was passed as the server name.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The certificate has no names of servers as subject alternative names, so it is valid for no server. Its common name
    /// does not count
    /// ([RFC 9525, section 2](https://www.rfc-editor.org/rfc/rfc9525#section-2)).
    #[error(
        "the server's certificate has no subject alternative names, and its common name does not count; make one with \
         `openssl req -x509 -addext subjectAltName=DNS:NAME`"
    )]
    NoNames,
    /// The certificate has expired.
    #[error(
        "the server's certificate expired{}; renew it, or correct the clock of this machine",
        Time(" on ", *.not_after)
    )]
    #[non_exhaustive]
    Expired {
        /// The end of its validity period, if it can be read.
        not_after: Option<SystemTime>,
    },
    /// The certificate is not valid yet.
    #[error(
        "the server's certificate is not valid{}; compare the clocks of both machines",
        Time(" before ", *.not_before)
    )]
    #[non_exhaustive]
    NotYetValid {
        /// The start of its validity period, if it can be read.
        not_before: Option<SystemTime>,
    },
    /// No trusted authority has signed the certificate.
    #[error(
        "the server's certificate is not signed by a trusted authority; trust its authority, or the certificate itself; if an \
         intermediate authority has signed it, the server must send the certificate of that authority, too"
    )]
    UnknownIssuer,
    /// The certificate is not the pinned one.
    #[error(
        "the server's certificate is not the pinned one, but {:?}; if the server has a new certificate, and this is it, pin \
         this SHA-256",
        Fingerprint(.received)
    )]
    #[non_exhaustive]
    NotPinned {
        /// The SHA-256 of the certificate that the server has, as [`Trust::sha256`](crate::Trust::sha256) takes it. It is to
        /// be compared with the one on the server: `openssl x509 -in FILE -noout -fingerprint -sha256` prints it there.
        received: [u8; 32],
    },
    /// The certificate is an authority (`CA:TRUE`), as the one that `openssl req -x509` makes, and it is not trusted as
    /// itself: see [`Trust::certificate`](crate::Trust::certificate), [`Trust::pem_file`](crate::Trust::pem_file) and
    /// [`Trust::sha256`](crate::Trust::sha256).
    #[error(
        "the server's certificate is that of an authority (CA:TRUE), and clients accept it only if they trust exactly this \
         certificate; trust it, or make one with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`"
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

/// Shows the names in a certificate.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The number of names that are shown.
        const SHOWN: usize = 5;
        for (index, name) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Escaped(name))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more names"),
        }
    }
}

/// Shows a time in UTC behind a text, or nothing if the time is not known.
struct Time(&'static str, Option<SystemTime>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(since) = self.1.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) else {
            return Ok(());
        };
        let (seconds, text) = (since.as_secs(), self.0);
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{text}{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"
        )
    }
}

/// Returns the year, month and day of a day since 1970, in the Gregorian calendar.
fn date(mut day: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // A cycle of 400 years has 146,097 days.
    let mut year = 1970 + day / 146_097 * 400;
    day %= 146_097;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

/// The reason of a certificate whose signature cannot be checked.
const SIGNATURE: &str = "its signature is made with an algorithm that is not accepted, such as SHA-1; let its authority sign it \
     with SHA-256, SHA-384 or SHA-512";

fn system_time(time: UnixTime) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()))
}

/// Returns `false` for a name in a certificate of a kind that no server has, such as an e-mail address, as rustls shows it:
/// `Unsupported(0x01)`.
fn is_shown(name: &&String) -> bool {
    !name.starts_with("Unsupported(")
}

/// Returns a name in a certificate without its kind, as rustls shows it: `DnsName("localhost")`.
fn without_kind(name: &str) -> String {
    let inner = name
        .split_once('(')
        .and_then(|(_, name)| name.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_owned()
}

/// Returns the reason why a certificate with this SHA-256 was rejected.
pub(super) fn untrusted_reason(error: &rustls::Error, sha256: [u8; 32]) -> UntrustedReason {
    use CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            E::NotValidForNameContext {
                expected,
                presented,
            } => {
                let shown = presented.iter().filter(is_shown);
                let presented: Vec<_> = shown.map(|name| without_kind(name)).collect();
                match presented.is_empty() {
                    true => UntrustedReason::NoNames,
                    false => UntrustedReason::WrongName {
                        expected: expected.to_str().into_owned(),
                        presented,
                    },
                }
            }
            E::Expired => UntrustedReason::Expired { not_after: None },
            E::ExpiredContext { not_after, .. } => UntrustedReason::Expired {
                not_after: system_time(*not_after),
            },
            E::NotValidYet => UntrustedReason::NotYetValid { not_before: None },
            E::NotValidYetContext { not_before, .. } => UntrustedReason::NotYetValid {
                not_before: system_time(*not_before),
            },
            // The signature is wrong, or of another algorithm than the key, if the issuer only shares its name with a trusted
            // authority.
            E::UnknownIssuer
            | E::BadSignature
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                UntrustedReason::UnknownIssuer
            }
            E::UnsupportedSignatureAlgorithmContext { .. } => {
                UntrustedReason::Other(SIGNATURE.into())
            }
            E::ApplicationVerificationFailure => UntrustedReason::NotPinned { received: sha256 },
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => UntrustedReason::WrongPurpose,
            E::Other(OtherError(error)) => match error.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => UntrustedReason::Authority,
                Some(error) => UntrustedReason::Other(describe(error)),
                None => UntrustedReason::Other(EscapedMessage(error).to_string()),
            },
            error => UntrustedReason::Other(EscapedMessage(error).to_string()),
        },
        error => UntrustedReason::Other(EscapedMessage(error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_shown_in_utc() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (978_307_200, "2001-01-01 00:00:00"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(
                Time(" on ", Some(time)).to_string(),
                format!(" on {shown} UTC")
            );
        }
        assert_eq!(Time(" on ", None).to_string(), "");
    }

    #[test]
    fn signature_that_cannot_be_checked_has_a_reason_without_object_identifiers() {
        let reason = |error: CertificateError| untrusted_reason(&error.into(), [0; 32]);
        let weak = reason(CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![6, 7, 42, 134, 72, 206, 61, 4, 1],
            supported_algorithms: Vec::new(),
        });
        let shown = format!("the server's certificate is not acceptable: {SIGNATURE}");
        assert_eq!(weak.to_string(), shown);
        let other_key = reason(
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![6, 3, 43, 101, 112],
                public_key_algorithm_id: vec![6, 7, 42, 134, 72, 206, 61, 2, 1],
            },
        );
        assert_eq!(other_key, UntrustedReason::UnknownIssuer);
    }

    #[test]
    fn names_that_no_server_has_are_not_shown() {
        let reason = |names: &[&str]| {
            let error = CertificateError::NotValidForNameContext {
                expected: "localhost".try_into().unwrap(),
                presented: names.iter().map(|&name| name.into()).collect(),
            };
            untrusted_reason(&error.into(), [0; 32])
        };
        assert_eq!(reason(&[]), UntrustedReason::NoNames);
        assert_eq!(reason(&["Unsupported(0x01)"]), UntrustedReason::NoNames);
        let wrong = reason(&["Unsupported(0x01)", r#"DnsName("example.org")"#]);
        let expected = UntrustedReason::WrongName {
            expected: "localhost".into(),
            presented: vec!["example.org".into()],
        };
        assert_eq!(wrong, expected);
    }

    #[test]
    fn names_in_a_certificate_are_escaped_and_their_number_is_limited() {
        let mut presented = vec!["a\nb".to_owned(), "c".repeat(1_000)];
        presented.extend((0..1_000).map(|number| format!("n{number}")));
        let expected = "d\ne".to_owned();
        let shown = UntrustedReason::WrongName {
            expected,
            presented,
        }
        .to_string();
        assert!(shown.contains(r"is for a\nb, ccc"), "{shown}");
        assert!(
            shown.contains(r"n2 and 997 more names, and not for d\ne; "),
            "{shown}"
        );
        assert!(shown.len() < 600, "{shown}");
    }
}
