//! Whom somebody believes.

use std::fmt;
use std::path::Path;

use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::tls::certificate::{Certificate, sha256};
use crate::tls::pem::{PemError, certificates, read};

/// Whom a client believes, and a server, where it asks its clients who they are. There is no way to believe everybody.
///
/// ```
/// use rpc_runtime::{Identity, Trust};
///
/// let server = Identity::self_signed(["localhost"])?;
/// let exactly_this_one = Trust::certificate(server.certificate());
/// let the_same_by_its_hash = Trust::sha256(server.certificate().sha256());
/// # Ok::<(), rpc_runtime::IdentityError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Trust {
    system: bool,
    certificates: Vec<CertificateDer<'static>>,
    pins: Vec<[u8; 32]>,
}

impl Trust {
    /// The authorities that the operating system trusts. A client's default.
    pub fn system() -> Self {
        Self {
            system: true,
            ..Self::empty()
        }
    }

    /// The authorities, or the self-signed certificates, of a PEM file.
    ///
    /// # Errors
    /// A file that cannot be read or holds no certificate.
    pub fn pem_file(path: impl AsRef<Path>) -> Result<Self, PemError> {
        Self::pem(&read(path.as_ref())?)
    }

    /// As [`pem_file`](Self::pem_file), from memory.
    ///
    /// # Errors
    /// PEM text that holds no certificate.
    pub fn pem(pem: &[u8]) -> Result<Self, PemError> {
        certificates(pem).map(Self::anchors)
    }

    /// This authority, or this self-signed certificate. One that is no authority is trusted itself, and not what its key
    /// has signed.
    pub fn certificate(certificate: Certificate) -> Self {
        Self::anchors(vec![certificate.into_der()])
    }

    /// The self-signed certificate with this SHA-256 ([`Certificate::sha256`]). Its names and its term are checked as any
    /// other's.
    pub fn sha256(sha256: [u8; 32]) -> Self {
        Self {
            pins: vec![sha256],
            ..Self::empty()
        }
    }

    /// These and those: several clients, or a server's old certificate and its next.
    ///
    /// ```
    /// use rpc_runtime::{Identity, Trust};
    ///
    /// let (old, new) = (Identity::self_signed(["localhost"])?, Identity::self_signed(["localhost"])?);
    /// let either = Trust::certificate(old.certificate()).or(Trust::certificate(new.certificate()));
    /// # Ok::<(), rpc_runtime::IdentityError>(())
    /// ```
    pub fn or(mut self, other: Self) -> Self {
        self.system |= other.system;
        self.certificates.extend(other.certificates);
        self.pins.extend(other.pins);
        self
    }

    fn empty() -> Self {
        Self {
            system: false,
            certificates: Vec::new(),
            pins: Vec::new(),
        }
    }

    fn anchors(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self {
            certificates,
            ..Self::empty()
        }
    }

    /// What checks certificates, by the verifiers that `build` makes of anchors.
    pub(super) fn verifiers<V>(self, build: Build<V>) -> Result<Verifiers<V>, TrustError> {
        let (authorities, end_entities): (Vec<_>, Vec<_>) =
            self.certificates.into_iter().partition(is_authority);
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        if self.system {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let readable =
            |certificate: &CertificateDer<'_>| EndEntityCert::try_from(certificate).is_ok();
        let mut pins = self.pins;
        let only_pinned = !self.system && roots.is_empty() && end_entities.is_empty();
        pins.extend(
            end_entities
                .iter()
                .filter(|certificate| readable(certificate))
                .map(|certificate| sha256(certificate)),
        );
        if roots.is_empty() && pins.is_empty() {
            return Err(TrustError::new("no usable certificate to trust"));
        }
        Ok(Verifiers {
            anchored: match roots.is_empty() {
                true => None,
                false => Some(build(roots)?),
            },
            pins,
            only_pinned,
            build,
        })
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::system()
    }
}

/// Makes a verifier of what it is to trust.
type Build<V> = fn(RootCertStore) -> Result<V, TrustError>;

/// Checks certificates against authorities, and those that are known themselves each against itself.
#[derive(Debug)]
pub(super) struct Verifiers<V> {
    anchored: Option<V>,
    pins: Vec<[u8; 32]>,
    /// All that is known are hashes.
    only_pinned: bool,
    build: Build<V>,
}

impl<V> Verifiers<V> {
    /// Has `end_entity` checked by the verifier that is the one for it.
    pub(super) fn check<T>(
        &self,
        end_entity: &CertificateDer<'_>,
        check: impl FnOnce(&V) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        if !self.pins.is_empty() && self.pins.contains(&sha256(end_entity)) {
            let mut itself = RootCertStore::empty();
            itself.add(end_entity.clone().into_owned())?;
            let built = (self.build)(itself);
            return check(&built.map_err(|error| rustls::Error::General(error.to_string()))?);
        }
        match &self.anchored {
            Some(verifier) => check(verifier),
            None if self.only_pinned => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// Whether a certificate may sign others. What is trusted as an anchor may sign anything, whatever it says itself; so a
/// server's or a client's own certificate must not be one.
fn is_authority(certificate: &CertificateDer<'static>) -> bool {
    let (Ok(end_entity), Ok(anchor)) = (
        EndEntityCert::try_from(certificate),
        anchor_from_trusted_cert(certificate),
    ) else {
        return false;
    };
    let as_end_entity = |time| {
        let usage = KeyUsage::server_auth();
        end_entity.verify_for_usage(
            &[],
            std::slice::from_ref(&anchor),
            &[],
            time,
            usage,
            None,
            None,
        )
    };
    // Looked at when it is valid, for that is what is looked at first.
    let verified = match as_end_entity(UnixTime::now()).map(drop) {
        Err(webpki::Error::CertExpired { not_after, .. }) => as_end_entity(not_after).map(drop),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
            as_end_entity(not_before).map(drop)
        }
        verified => verified,
    };
    matches!(verified, Err(webpki::Error::CaUsedAsEndEntity))
}

/// What is to be trusted cannot be: the system has no authorities, or what was called a certificate is none. Connecting
/// shows it, as [`ConnectError::Trust`](crate::ConnectError::Trust), and binding, as
/// [`BindError::Trust`](crate::BindError::Trust).
///
/// ```
/// use rpc_runtime::{Client, ConnectError, Trust};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::PemError> {
/// // PEM text says nothing about what is in it.
/// let trust = Trust::pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
/// match Client::builder().trust(trust).connect("127.0.0.1:4433").await {
///     Err(ConnectError::Trust(error)) => assert_eq!(error.to_string(), "no usable certificate to trust"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TrustError(String);

impl TrustError {
    pub(super) fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}
