//! Says what a text is that is not the PEM text of a certificate or of a private key, and what to do about it.
//!
//! Nothing of the text itself is shown, except for labels of sections: it may be a private key.

use std::path::Path;

use crate::tls::der::{DerElements, sequence, tag};
use crate::tls::sections::{Section, sections};

/// What the text should have contained.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Certificate,
    PrivateKey,
}

impl Wanted {
    /// Returns the name of the file that a command should write.
    fn file(self) -> &'static str {
        match self {
            Self::Certificate => "new.pem",
            Self::PrivateKey => "new.key",
        }
    }

    /// Returns the command of OpenSSL that writes what is wanted.
    fn command(self) -> &'static str {
        match self {
            Self::Certificate => "x509",
            Self::PrivateKey => "pkey",
        }
    }

    fn missing(self) -> &'static str {
        match self {
            Self::Certificate => "no PEM section `CERTIFICATE`",
            Self::PrivateKey => "no PEM section `PRIVATE KEY`",
        }
    }
}

/// Returns what a text contains instead of what is wanted, and what to do.
pub(super) fn diagnose(path: Option<&Path>, text: &[u8], wanted: Wanted) -> String {
    let file = argument(path);
    if text.trim_ascii().is_empty() {
        return "it is empty".into();
    }
    if is_utf16(text) {
        return format!(
            "it is UTF-16 text; write it as UTF-8 with `iconv -f UTF-16 -t UTF-8 {file} > {}`, or in PowerShell \
             with `Set-Content -Encoding ascii`",
            wanted.file()
        );
    }
    let suitable = |section: &Section<'_>| match wanted {
        Wanted::Certificate => section.is_certificate(),
        Wanted::PrivateKey => section.is_plain_key(),
    };
    let mut numbered = (1..).zip(sections(text).filter(suitable));
    if let Some((number, section)) = numbered.find(|(_, section)| section.is_damaged()) {
        return damaged(&section, number);
    }
    // A key that is encrypted or of another kind says more than the certificate beside it.
    let key = || sections(text).find(Section::is_key);
    let telling = match wanted {
        Wanted::Certificate => sections(text).next(),
        Wanted::PrivateKey => key().or_else(|| sections(text).next()),
    };
    let found = match telling {
        Some(section) => of_section(&section),
        None => match of_binary(text) {
            Some(found) => return binary(found, wanted, &file),
            None => return no_section(text, wanted),
        },
    };
    format!("{}; {}", found.name(), found.remedy(wanted, &file))
}

fn damaged(section: &Section<'_>, number: usize) -> String {
    let label = section.label;
    match section.is_complete {
        true => format!(
            "its section `{label}` (number {number}) is not valid base64; copy the file again, without changes to its \
             lines"
        ),
        false => format!(
            "its section `{label}` (number {number}) has no line `-----END {label}-----`, so a part is missing; copy \
             the whole file"
        ),
    }
}

fn is_utf16(text: &[u8]) -> bool {
    let starts = [&b"\xff\xfe"[..], b"\xfe\xff", b"-\0", b"\0-"];
    starts.iter().any(|start| text.starts_with(start))
}

/// What a file can contain in place of a certificate or a private key.
#[derive(Clone, Copy, PartialEq)]
enum Found<'a> {
    Certificate,
    /// With OpenSSL's own additions for trust.
    TrustedCertificate,
    CertificateRequest,
    PrivateKey,
    EncryptedKey,
    DsaKey,
    OpenSshKey,
    PublicKey,
    Pkcs7,
    Pkcs12,
    Other(&'a str),
}

fn of_section<'a>(section: &Section<'a>) -> Found<'a> {
    match section.label {
        _ if section.is_encrypted() => Found::EncryptedKey,
        "CERTIFICATE" => Found::Certificate,
        "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => Found::TrustedCertificate,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Found::CertificateRequest,
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => Found::PrivateKey,
        "DSA PRIVATE KEY" => Found::DsaKey,
        "OPENSSH PRIVATE KEY" => Found::OpenSshKey,
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Found::PublicKey,
        "PKCS7" | "CMS" => Found::Pkcs7,
        other => Found::Other(other),
    }
}

/// Returns what binary data is, or `None` if it is no DER.
fn of_binary(der: &[u8]) -> Option<Found<'static>> {
    let mut elements = sequence(der)?;
    let (first, second) = (elements.next()?, elements.next().map(|element| element.tag));
    Some(match (first.tag, second) {
        (tag::INTEGER, Some(tag::SEQUENCE)) if first.value == [3] => Found::Pkcs12,
        // PKCS #8, PKCS #1 and SEC 1. DSA keys have six numbers, RSA keys nine.
        (tag::INTEGER, Some(tag::INTEGER)) if elements.count() == 4 => Found::DsaKey,
        (tag::INTEGER, Some(tag::SEQUENCE | tag::INTEGER | tag::OCTET_STRING)) => Found::PrivateKey,
        (tag::SEQUENCE, Some(tag::OCTET_STRING)) => Found::EncryptedKey,
        (tag::SEQUENCE, Some(tag::BIT_STRING)) => Found::PublicKey,
        (tag::SEQUENCE, Some(tag::SEQUENCE)) => {
            let version = DerElements(first.value).next()?;
            match version.value(tag::INTEGER) {
                Some([0]) => Found::CertificateRequest,
                _ => Found::Certificate,
            }
        }
        (tag::OID, _) => Found::Pkcs7,
        _ => Found::Other("DER"),
    })
}

/// Returns the error for a binary file, which has to be converted to PEM.
fn binary(found: Found<'_>, wanted: Wanted, file: &str) -> String {
    let new = wanted.file();
    let name = format!("{}, in DER", found.name());
    let command = match (found, wanted) {
        (Found::Certificate, Wanted::Certificate) => "x509",
        (Found::PrivateKey, Wanted::PrivateKey) => "pkey",
        (Found::EncryptedKey, Wanted::PrivateKey) => {
            return format!(
                "{name}; decrypt it with `openssl pkcs8 -inform der -in {file} -out {new}`"
            );
        }
        (Found::Pkcs7, Wanted::Certificate) => "pkcs7 -print_certs",
        (Found::Pkcs12, _) => {
            return format!("{}; {}", found.name(), found.remedy(wanted, file));
        }
        (Found::Other(_), _) => {
            let command = wanted.command();
            return format!(
                "it is binary, not PEM; if it is DER, convert it with `openssl {command} -inform der -in {file} -out \
                 {new}`"
            );
        }
        _ => {
            return format!(
                "{name}; {}",
                found.remedy(wanted, &format!("{file} -inform der"))
            );
        }
    };
    format!("{name}; convert it to PEM with `openssl {command} -inform der -in {file} -out {new}`")
}

impl Found<'_> {
    fn name(self) -> String {
        match self {
            Self::Certificate => "it contains a certificate",
            Self::TrustedCertificate => "it contains a certificate in OpenSSL's own format",
            Self::CertificateRequest => "it contains a certificate request (CSR)",
            Self::PrivateKey => "it contains a private key",
            Self::EncryptedKey => "the key in it is encrypted",
            Self::DsaKey => "it is a DSA key",
            Self::OpenSshKey => "it is a key in the format of OpenSSH",
            Self::PublicKey => "it contains a public key",
            Self::Pkcs7 => "it is a PKCS #7 bundle of certificates",
            Self::Pkcs12 => "it is a PKCS #12 file (.p12, .pfx)",
            Self::Other(label) => return format!("it contains `{label}`"),
        }
        .into()
    }

    /// Returns what to do to get what is wanted.
    fn remedy(self, wanted: Wanted, file: &str) -> String {
        let new = wanted.file();
        match (self, wanted) {
            (Self::EncryptedKey, Wanted::PrivateKey) => {
                format!("decrypt it with `openssl pkey -in {file} -out {new}`")
            }
            (Self::DsaKey, Wanted::PrivateKey) => new_key().into(),
            (Self::OpenSshKey, Wanted::PrivateKey) => format!(
                "if it is an RSA or ECDSA key, convert a copy of it with `cp {file} {new} && ssh-keygen -p -m PKCS8 \
                 -f {new}`"
            ),
            (Self::PublicKey, Wanted::PrivateKey) => {
                "pass the private key that it was made from".into()
            }
            (Self::Pkcs12, Wanted::PrivateKey) => {
                format!(
                    "extract the key with `openssl pkcs12 -in {file} -nocerts -nodes -out {new}`"
                )
            }
            (Self::Pkcs12, Wanted::Certificate) => {
                format!(
                    "extract the certificates with `openssl pkcs12 -in {file} -nokeys -out {new}`"
                )
            }
            (Self::Pkcs7, Wanted::Certificate) => {
                format!("extract them with `openssl pkcs7 -print_certs -in {file} -out {new}`")
            }
            (Self::TrustedCertificate, Wanted::Certificate) => {
                format!("convert it with `openssl x509 -in {file} -out {new}`")
            }
            (Self::CertificateRequest, Wanted::Certificate) => format!(
                "let an authority sign it, or sign it with its own key: `openssl req -x509 -in {file} -key KEY \
                 -addext subjectAltName=DNS:NAME -out {new}`"
            ),
            (_, Wanted::PrivateKey) => format!("{}; pass the key file", wanted.missing()),
            (_, Wanted::Certificate) => format!("{}; pass the certificate file", wanted.missing()),
        }
    }
}

/// Returns what to do about a key of a kind that TLS does not use here.
pub(super) fn new_key() -> &'static str {
    "TLS uses ECDSA on P-256 or P-384, Ed25519, and RSA of 2048 to 4096 bits here: make a key with `openssl genpkey \
     -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new.key`, and a certificate for it"
}

/// Returns the error for a text without any section.
fn no_section(text: &[u8], wanted: Wanted) -> String {
    let contains = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let missing = wanted.missing();
    if text.starts_with(b"ssh-") || text.starts_with(b"ecdsa-sha2-") {
        return format!("it is a public key of OpenSSH; {missing}");
    }
    if !contains(b"-----BEGIN ") {
        return match std::str::from_utf8(text) {
            Ok(_) => missing.into(),
            Err(_) => format!("it is binary; {missing}"),
        };
    }
    if contains(br"-----\n") {
        return r"its line breaks are written as `\n`; replace them by line breaks".into();
    }
    "its line `-----BEGIN …-----` is not alone on a line that it starts; remove what stands before it, and restore the \
     line breaks"
        .into()
}

/// Returns the path as an argument in a shell, or a placeholder for text without a file.
pub(super) fn argument(path: Option<&Path>) -> String {
    let Some(path) = path else {
        return "FILE".into();
    };
    let path = path.display().to_string();
    let plain = |char: char| char.is_alphanumeric() || "/._-+:@".contains(char);
    match !path.is_empty() && path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
