//! Who a server or a client is, and whom the other trusts.

/// How both sides check signatures: as rustls does. rustls asks for the same three methods of either verifier.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = $crate::tls::provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = $crate::tls::provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            $crate::tls::provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

mod certificate;
mod client_auth;
mod identity;
mod pem;
mod server_auth;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use crate::tls::certificate::Certificate;
pub(crate) use crate::tls::client_auth::{ClientAuth, CurrentIdentity, server_config};
pub use crate::tls::identity::{Identity, IdentityError};
pub use crate::tls::pem::PemError;
pub use crate::tls::server_auth::UntrustedReason;
pub(crate) use crate::tls::server_auth::{Verdict, client_config};
pub use crate::tls::trust::{Trust, TrustError};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
