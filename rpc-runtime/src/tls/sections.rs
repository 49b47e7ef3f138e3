//! Splits PEM text into its sections.

use rustls_pki_types::pem::{PemObject, SectionKind};

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

    pub(super) fn is_damaged(&self) -> bool {
        <(SectionKind, Vec<u8>)>::from_pem_slice(self.text).is_err()
    }

    /// Returns `true` for both ways to encrypt a key: PKCS #8, and the older one of OpenSSL.
    pub(super) fn is_encrypted(&self) -> bool {
        let old = || lines(self.text).any(|(line, _)| line.starts_with(b"Proc-Type: 4,ENCRYPTED"));
        self.label == "ENCRYPTED PRIVATE KEY" || self.is_key() && old()
    }
}

/// Returns the sections of a text, also those that are not complete.
pub(super) fn sections(text: &[u8]) -> impl Iterator<Item = Section<'_>> {
    Sections(text)
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
