//! Reads certificates in PEM.

use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    std::fs::read(path).map_err(|source| PemError::File {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(PemError::Certificate("no certificate in it".into())),
        Err(error) => Err(PemError::Certificate(error.to_string())),
    }
}

/// The error when PEM text cannot be used.
///
/// ```
/// use rpc_runtime::{PemError, Trust};
///
/// match Trust::pem_file("no/such/file.pem") {
///     Err(PemError::File { path, source }) => println!("{}: {source}", path.display()),
///     other => panic!("{other:?}"),
/// }
/// assert!(matches!(Trust::pem(b"no PEM"), Err(PemError::Certificate(_))));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PemError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text contains no readable certificate.
    #[error("not a PEM certificate: {0}")]
    Certificate(String),
    /// The text contains no readable private key.
    #[error("not a PEM private key: {0}")]
    Key(String),
}
