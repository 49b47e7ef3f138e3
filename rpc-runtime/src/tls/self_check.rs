//! A server's check of its own certificate.

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::tls::exact::{Purpose, verify_itself};
use crate::tls::identity::Identity;
use crate::tls::trust::is_authority;
use crate::tls::untrusted::{UntrustedReason, untrusted_reason};

impl Identity {
    /// Returns the faults of the certificate as a server's, which make clients reject it. Empty if there are none.
    ///
    /// Clients reject a certificate with any of these faults, with one exception: a certificate that is an authority
    /// ([`UntrustedReason::Authority`]) is accepted by clients that trust exactly this certificate. A server logs the faults
    /// as warnings when it is bound and when its identity is replaced. Whether the certificate is for the names that clients
    /// use is not known here.
    ///
    /// ```
    /// use rpc_runtime::Identity;
    ///
    /// let identity = Identity::self_signed(["localhost"])?;
    /// assert!(identity.server_faults().is_empty());
    /// # Ok::<(), rpc_runtime::tls::TlsError>(())
    /// ```
    pub fn server_faults(&self) -> Vec<UntrustedReason> {
        let certificate = self.certificate().into_der();
        let checked = verify_itself(&certificate, Purpose::Server, UnixTime::now());
        let mut faults: Vec<_> = checked
            .err()
            .iter()
            .map(|error| untrusted_reason(error, self.certificate().sha256()))
            .chain(has_no_names(&certificate).then_some(UntrustedReason::NoNames))
            .collect();
        if is_authority(&certificate) {
            faults.push(UntrustedReason::Authority);
        }
        faults
    }

    /// Logs the reasons of [`server_faults`](Self::server_faults).
    pub(crate) fn warn_of_faults(&self) {
        for reason in self.server_faults() {
            tracing::warn!(
                target: "rpc_runtime::server",
                certificate = ?self.certificate(),
                reason = %reason,
                "certificate has a fault"
            );
        }
    }
}

fn has_no_names(certificate: &CertificateDer<'_>) -> bool {
    // The error for a name that no certificate has shows whether there are any.
    let (Ok(parsed), Ok(name)) = (
        ParsedCertificate::try_from(certificate),
        ServerName::try_from("name.invalid"),
    ) else {
        return false;
    };
    let checked = verify_server_name(&parsed, &name);
    checked.is_err_and(|error| untrusted_reason(&error, [0; 32]) == UntrustedReason::NoNames)
}
