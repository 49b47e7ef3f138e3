//! Reads certificates and private keys in PEM.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::tls::diagnosis::{Wanted, diagnose};
use crate::tls::error::TlsError;
use crate::tls::sections::{Section, sections};

/// PEM text, and the file that it was read from.
pub(super) struct Pem<'a> {
    pub(super) path: Option<&'a Path>,
    pub(super) text: &'a [u8],
}

impl<'a> Pem<'a> {
    pub(super) fn new(path: Option<&'a Path>, text: &'a [u8]) -> Self {
        // Editors and PowerShell on Windows write a byte-order mark.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self { path, text }
    }

    pub(super) fn path(&self) -> Option<PathBuf> {
        self.path.map(Path::to_owned)
    }

    /// Returns all certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found = sections(self.text).filter(Section::is_certificate);
        let read: Result<Vec<_>, _> = found
            .map(|section| CertificateDer::from_pem_slice(section.text))
            .collect();
        match read {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            // The error of the PEM parser is not passed on: it may contain a line of the text.
            Ok(_) | Err(_) => {
                Err(self.certificate_error(diagnose(self.path, self.text, Wanted::Certificate)))
            }
        }
    }

    /// Returns the first private key that is not encrypted.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let found = sections(self.text).find(Section::is_plain_key);
        found
            .and_then(|section| PrivateKeyDer::from_pem_slice(section.text).ok())
            .ok_or_else(|| self.key_error(diagnose(self.path, self.text, Wanted::PrivateKey)))
    }

    pub(super) fn certificate_error(&self, reason: String) -> TlsError {
        TlsError::Certificate {
            path: self.path(),
            reason,
        }
    }

    pub(super) fn key_error(&self, reason: String) -> TlsError {
        TlsError::PrivateKey {
            path: self.path(),
            reason,
        }
    }

    /// Returns `true` if there are private keys, encrypted or not, and no certificates.
    pub(super) fn has_only_keys(&self) -> bool {
        sections(self.text).any(|section| section.is_key())
            && !sections(self.text).any(|section| section.is_certificate())
    }

    /// Returns `true` if there are certificates and no private keys.
    pub(super) fn has_only_certificates(&self) -> bool {
        sections(self.text).any(|section| section.is_certificate())
            && !sections(self.text).any(|section| section.is_key())
    }
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let read = std::fs::read(path).map(Zeroizing::new);
    read.map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })
}
