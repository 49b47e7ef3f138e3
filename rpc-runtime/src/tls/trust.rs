//! Trust anchors.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::tls::certificate::{Certificate, Fingerprint, sha256};
use crate::tls::error::TlsError;
use crate::tls::pem::{Pem, read};
use crate::tls::{fault, system_roots};

/// The trust anchors of a client, and of a server that requests its clients' certificates. Verification cannot be
/// disabled.
///
/// ```
/// use rpc_runtime::{Identity, Trust};
///
/// let server = Identity::self_signed(["localhost"])?;
/// let exactly_this_one = Trust::certificate(server.certificate());
/// let the_same_by_its_hash = Trust::sha256(server.certificate().sha256());
/// # Ok::<(), rpc_runtime::tls::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Trust {
    system: bool,
    certificates: Vec<CertificateDer<'static>>,
    pins: Vec<[u8; 32]>,
}

impl Trust {
    /// Trusts the authorities of the operating system. This is the default of a client.
    ///
    /// The process reads them once, when the first client connects that trusts them. So an authority that is installed
    /// later is trusted after a restart. A client reads them on a thread for blocking work.
    pub fn system() -> Self {
        Self {
            system: true,
            ..Self::empty()
        }
    }

    /// Trusts the authorities, or the certificates of servers or clients, in a PEM file. Sections other than
    /// certificates are ignored.
    ///
    /// A certificate in the file is also trusted as the peer's own, even if it is an authority, as the one that
    /// `openssl req -x509` makes. The names and the validity period of a peer's own certificate are always checked.
    ///
    /// # Errors
    /// Fails if the file cannot be read or contains no certificate. The error names the file, what was found in it, and
    /// what to do.
    pub fn pem_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        let path = path.as_ref();
        let certificates = Pem::new(Some(path), &read(path)?).certificates();
        certificates.map(Self::anchors)
    }

    /// Trusts the authorities, or the certificates of servers or clients, in PEM text, like
    /// [`pem_file`](Self::pem_file).
    ///
    /// # Errors
    /// Fails if the text contains no certificate.
    pub fn pem(pem: &[u8]) -> Result<Self, TlsError> {
        Pem::new(None, pem).certificates().map(Self::anchors)
    }

    /// Trusts this authority, or this certificate of a server or client. If the certificate is not an authority, only
    /// the certificate itself is trusted; certificates that its key has signed are not.
    pub fn certificate(certificate: Certificate) -> Self {
        Self::anchors(vec![certificate.into_der()])
    }

    /// Trusts exactly the certificate with this SHA-256 ([`Certificate::sha256`]), from whatever authority. It is not
    /// trusted as an authority. Its names and its validity period are checked as usual.
    pub fn sha256(sha256: [u8; 32]) -> Self {
        Self {
            pins: vec![sha256],
            ..Self::empty()
        }
    }

    /// Combines two sets of trust anchors, for several clients, or for a server's current certificate and its next.
    ///
    /// ```
    /// use rpc_runtime::{Identity, Trust};
    ///
    /// let (old, new) = (Identity::self_signed(["localhost"])?, Identity::self_signed(["localhost"])?);
    /// let either = Trust::certificate(old.certificate()).or(Trust::certificate(new.certificate()));
    /// # Ok::<(), rpc_runtime::tls::TlsError>(())
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

    /// Returns the verifiers of certificates, which `build` creates from trust anchors. The authorities of the system are
    /// read on another thread.
    pub(super) async fn load_verifiers<V>(self, build: Build<V>) -> Result<Verifiers<V>, TlsError> {
        let system = match self.system {
            true => system_roots::load().await,
            false => system_roots::none(),
        };
        self.verifiers_with(system, build)
    }

    /// Returns the verifiers of certificates, as [`load_verifiers`](Self::load_verifiers) does. The authorities of the system
    /// are read on this thread.
    #[cfg(feature = "server")]
    pub(super) fn verifiers<V>(self, build: Build<V>) -> Result<Verifiers<V>, TlsError> {
        let system = match self.system {
            true => system_roots::load_blocking(),
            false => system_roots::none(),
        };
        self.verifiers_with(system, build)
    }

    fn verifiers_with<V>(
        self,
        mut roots: Arc<RootCertStore>,
        build: Build<V>,
    ) -> Result<Verifiers<V>, TlsError> {
        let fault = fault::first(&self.certificates);
        // A certificate that is trusted as an authority is trusted as the peer's own, too.
        let readable =
            |certificate: &&CertificateDer<'_>| EndEntityCert::try_from(*certificate).is_ok();
        let listed = self.certificates.iter().filter(readable);
        let mut exact: Vec<_> = listed.map(|certificate| sha256(certificate)).collect();
        let (authorities, end_entities): (Vec<_>, Vec<_>) =
            self.certificates.into_iter().partition(is_authority);
        if !authorities.is_empty() {
            Arc::make_mut(&mut roots).add_parsable_certificates(authorities);
        }
        let only_pinned = !self.system && roots.is_empty() && end_entities.is_empty();
        exact.extend(self.pins);
        if roots.is_empty() && exact.is_empty() {
            let why = match fault {
                Some(fault) => format!(": the {fault}"),
                None => ": the system has no authorities; name one with `Trust::pem_file`".into(),
            };
            return Err(TlsError::trust_anchors(format_args!(
                "no usable certificate to trust{why}"
            )));
        }
        Ok(Verifiers {
            anchored: match roots.is_empty() {
                true => None,
                false => Some(build(roots)?),
            },
            exact,
            only_pinned,
        })
    }
}

/// Shows the fingerprints of the anchors.
impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self.certificates.iter().cloned().map(Certificate::new);
        let pins = self.pins.iter().map(Fingerprint);
        f.debug_struct("Trust")
            .field("system", &self.system)
            .field("certificates", &certificates.collect::<Vec<_>>())
            .field("pins", &pins.collect::<Vec<_>>())
            .finish()
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self::system()
    }
}

/// Creates a verifier from trust anchors.
type Build<V> = fn(Arc<RootCertStore>) -> Result<V, TlsError>;

/// Verifies certificates against the authorities, and those that are trusted exactly as themselves.
#[derive(Debug)]
pub(crate) struct Verifiers<V> {
    anchored: Option<V>,
    /// The SHA-256 of each certificate that is trusted as the peer's own, whatever signed it.
    exact: Vec<[u8; 32]>,
    /// `true` if all trust anchors are hashes.
    only_pinned: bool,
}

impl<V> Verifiers<V> {
    /// Verifies `end_entity`: with `itself` if exactly this certificate is trusted, with a verifier otherwise.
    pub(super) fn check<T>(
        &self,
        end_entity: &CertificateDer<'_>,
        itself: impl FnOnce() -> Result<T, rustls::Error>,
        anchored: impl FnOnce(&V) -> Result<T, rustls::Error>,
    ) -> Result<T, rustls::Error> {
        if self.exact.contains(&sha256(end_entity)) {
            return itself();
        }
        match &self.anchored {
            Some(verifier) => anchored(verifier),
            None if self.only_pinned => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }
}

/// Returns `true` if a certificate is an authority. A trust anchor may sign any certificate, whatever its own
/// constraints, so an end-entity certificate must not be a trust anchor.
pub(super) fn is_authority(certificate: &CertificateDer<'static>) -> bool {
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
    // Verified at a time within its validity period, which is checked first.
    let verified = match as_end_entity(UnixTime::now()).map(drop) {
        Err(webpki::Error::CertExpired { not_after, .. }) => as_end_entity(not_after).map(drop),
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => {
            as_end_entity(not_before).map(drop)
        }
        verified => verified,
    };
    matches!(verified, Err(webpki::Error::CaUsedAsEndEntity))
}
