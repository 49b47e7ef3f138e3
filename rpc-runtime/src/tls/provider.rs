//! The cryptography of both peers. The features of this crate choose the library: ring, or aws-lc-rs, which has the same
//! interface.

use std::sync::Arc;

#[cfg(feature = "aws-lc-rs")]
pub(crate) use aws_lc_rs as library;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) use ring as library;
use rustls::crypto::CryptoProvider;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as backend;

#[cfg(feature = "rustls-config")]
use crate::tls::error::TlsError;

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
compile_error!(
    "rpc-runtime needs a cryptographic library: enable its feature `ring` or `aws-lc-rs`"
);

pub(super) use backend::sign::any_supported_type;

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(backend::default_provider())
}

/// Returns a number that no other party can guess, from the random generator of the cryptographic library.
#[cfg(feature = "http2")]
pub(crate) fn secret_number() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    let filled = provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Checks that a configuration of rustls has a cipher suite for the first packets of QUIC.
#[cfg(feature = "rustls-config")]
pub(super) fn check_config(provider: &CryptoProvider) -> Result<(), TlsError> {
    let is_initial = |suite: &rustls::SupportedCipherSuite| {
        suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
            && suite.tls13().is_some_and(|suite| suite.quic.is_some())
    };
    match provider.cipher_suites.iter().any(is_initial) {
        true => Ok(()),
        false => Err(TlsError::CipherSuites),
    }
}

/// Implements the three methods that verify signatures by rustls's own functions. rustls requires them of the verifiers
/// of both peers.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = $crate::tls::provider::provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = $crate::tls::provider::provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            $crate::tls::provider::provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}
pub(super) use verify_signatures;
