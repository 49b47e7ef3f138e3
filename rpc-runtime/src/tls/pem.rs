//! Reads certificates and private keys in PEM.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::tls::diagnosis::{Wanted, diagnose};
use crate::tls::error::TlsError;

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
        let found = self.sections().filter(Section::is_certificate);
        let read: Result<Vec<_>, _> = found
            .map(|section| CertificateDer::from_pem_slice(section.text))
            .collect();
        match read {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            // The error of the PEM parser is not passed on: it may contain a line of the text.
            Ok(_) | Err(_) => Err(self.certificate_error(diagnose(self, Wanted::Certificate))),
        }
    }

    /// Returns the first private key that is not encrypted.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let found = self.sections().find(Section::is_plain_key);
        found
            .and_then(|section| PrivateKeyDer::from_pem_slice(section.text).ok())
            .ok_or_else(|| self.key_error(diagnose(self, Wanted::PrivateKey)))
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
        self.sections().any(|section| section.is_key())
            && !self.sections().any(|section| section.is_certificate())
    }

    /// Returns `true` if there are certificates and no private keys.
    pub(super) fn has_only_certificates(&self) -> bool {
        self.sections().any(|section| section.is_certificate())
            && !self.sections().any(|section| section.is_key())
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = Section<'a>> + use<'a> {
        Sections(self.text)
    }
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let read = std::fs::read(path).map(Zeroizing::new);
    read.map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

/// One section of PEM text.
pub(super) struct Section<'a> {
    /// The label, such as `CERTIFICATE`.
    pub(super) label: &'a str,
    /// The lines of the section, from that with the label.
    pub(super) text: &'a [u8],
    /// `true` if the line that ends the section exists.
    pub(super) is_complete: bool,
}

impl Section<'_> {
    pub(super) fn is_certificate(&self) -> bool {
        self.label == "CERTIFICATE"
    }

    /// Returns `true` for private keys, also for those that cannot be read.
    pub(super) fn is_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    pub(super) fn is_plain_key(&self) -> bool {
        let readable = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
        readable.contains(&self.label) && !self.is_encrypted()
    }

    /// Returns `true` for both ways to encrypt a key: PKCS #8, and the older one of OpenSSL.
    pub(super) fn is_encrypted(&self) -> bool {
        let old = || lines(self.text).any(|(line, _)| line.starts_with(b"Proc-Type: 4,ENCRYPTED"));
        self.label == "ENCRYPTED PRIVATE KEY" || self.is_key() && old()
    }
}

struct Sections<'a>(&'a [u8]);

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        let text = self.0;
        let mut begin = lines(text).filter_map(|(line, place)| Some((label(line)?, place)));
        let (label, (start, _)) = begin.next()?;
        // A section without an end goes to the next one.
        let next = begin.next().map_or(text.len(), |(_, (start, _))| start);
        let text = text.get(start..next)?;
        let end = format!("-----END {label}-----");
        let ends = lines(text).find(|(line, _)| line.starts_with(end.as_bytes()));
        let length = ends.map_or(text.len(), |(_, (_, end))| end);
        self.0 = self.0.get(start + length..)?;
        Some(Section {
            label,
            text: text.get(..length)?,
            is_complete: ends.is_some(),
        })
    }
}

/// Returns the lines of a text, each with the place where it starts and where the next one does. CR, LF and both end a
/// line.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], (usize, usize))> {
    let mut start = 0;
    text.split_inclusive(|byte| matches!(byte, b'\n' | b'\r'))
        .map(move |line| {
            let place = (start, start + line.len());
            start = place.1;
            (line.trim_ascii_end(), place)
        })
}

/// Returns the label of a line that begins a section. What is no label, for example the key if all line breaks were
/// lost, is never returned: it would become a part of errors.
fn label(line: &[u8]) -> Option<&str> {
    let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
    let is_known =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" .#".contains(byte);
    let is_label = !label.is_empty() && label.len() <= 40 && label.iter().all(is_known);
    is_label.then(|| std::str::from_utf8(label).ok()).flatten()
}
