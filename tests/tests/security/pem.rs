//! Files with certificates and keys, as other programs write them: they are read, or the error names the file, what is
//! in it, and what to do.

use std::collections::HashSet;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rpc_runtime::tls::TlsError;
use rpc_runtime::{Identity, Trust};
use tempfile::TempDir;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }
}

/// A certificate and its key in PEM.
fn pair() -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (signed.cert.pem(), signed.signing_key.serialize_pem())
}

fn section(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
}

/// Returns the text of the error for this file as the key, without the part that every one has.
fn key_error(key: impl AsRef<[u8]>) -> String {
    let files = Files::new();
    let (chain, key) = (
        files.write("chain.pem", pair().0),
        files.write("a.key", key),
    );
    let error = Identity::from_pem_files(chain, &key).unwrap_err();
    assert!(
        matches!(&error, TlsError::PrivateKey { path: Some(path), .. } if *path == key),
        "{error:?}"
    );
    without_path(&error, &key, "cannot use the private key")
}

/// Returns the text of the error for this file as certificates. It is the same as those of a server and as trust anchors.
fn certificate_error(certificates: impl AsRef<[u8]>) -> String {
    let files = Files::new();
    let (chain, key) = (
        files.write("a.pem", certificates),
        files.write("a.key", pair().1),
    );
    let error = Identity::from_pem_files(&chain, key).unwrap_err();
    assert!(
        matches!(&error, TlsError::Certificate { path: Some(path), .. } if *path == chain),
        "{error:?}"
    );
    let trust = Trust::pem_file(&chain).unwrap_err();
    assert_eq!(trust.to_string(), error.to_string());
    without_path(&error, &chain, "cannot use the certificates")
}

fn without_path(error: &TlsError, path: &std::path::Path, start: &str) -> String {
    let error = error.to_string();
    let start = format!("{start} in \"{}\": ", path.display());
    let rest = error.strip_prefix(&start);
    let rest = rest.unwrap_or_else(|| panic!("{error}"));
    rest.replace(&path.display().to_string(), "PATH")
}

#[test]
fn encrypted_key_is_named_with_the_command_that_decrypts_it() {
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for encrypted in [section("ENCRYPTED PRIVATE KEY").as_str(), old] {
        let why =
            "the key in it is encrypted; decrypt it with `openssl pkey -in PATH -out new.key`";
        assert_eq!(key_error(encrypted), why);
        let beside_its_certificate = pair().0 + encrypted;
        assert_eq!(key_error(beside_its_certificate), why);
        let error = Identity::from_pem(pair().0.as_bytes(), encrypted.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use the private key: the key in it is encrypted; decrypt it with `openssl pkey -in FILE -out new.key`"
        );
    }
}

#[test]
fn certificates_beside_an_encrypted_key_are_read() {
    let both = section("ENCRYPTED PRIVATE KEY") + &pair().0;
    Trust::pem(both.as_bytes()).unwrap();
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n****\n-----END RSA PRIVATE KEY-----\n";
    let (certificate, key) = pair();
    Identity::from_pem((old.to_owned() + &certificate).as_bytes(), key.as_bytes()).unwrap();
}

#[test]
fn der_is_named_with_the_command_that_converts_it() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    assert_eq!(
        certificate_error(signed.cert.der()),
        "it contains a certificate, in DER; convert it to PEM with `openssl x509 -inform der -in PATH -out new.pem`"
    );
    let key = signed.signing_key.serialize_der();
    assert_eq!(
        key_error(&key),
        "it contains a private key, in DER; convert it to PEM with `openssl pkey -inform der -in PATH -out new.key`"
    );
    assert_eq!(
        certificate_error(&key),
        "it contains a private key, in DER; no PEM section `CERTIFICATE`; pass the certificate file"
    );
    // An encrypted key: a sequence of a sequence and an octet string.
    let encrypted = [0x30, 4, 0x30, 0, 4, 0];
    assert!(key_error(encrypted).contains("`openssl pkcs8 -inform der -in PATH -out new.key`"));
}

#[test]
fn swapped_files_are_named_with_both_paths() {
    let files = Files::new();
    let (certificate, key) = pair();
    for key in [key, section("ENCRYPTED PRIVATE KEY")] {
        let (certificate, key) = (
            files.write("a.pem", &certificate),
            files.write("a.key", key),
        );
        let error = Identity::from_pem_files(&key, &certificate).unwrap_err();
        assert!(matches!(error, TlsError::KeyPair { .. }), "{error:?}");
        let expected = format!(
            "cannot use the private key in \"{}\" with the certificates in \"{}\": the private key was passed as the \
             certificates and the other way round; swap the two",
            certificate.display(),
            key.display()
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn file_passed_for_the_wrong_of_the_two_is_named() {
    let (certificate, key) = pair();
    assert_eq!(
        certificate_error(key),
        "it contains a private key; no PEM section `CERTIFICATE`; pass the certificate file"
    );
    assert_eq!(
        key_error(certificate),
        "it contains a certificate; no PEM section `PRIVATE KEY`; pass the key file"
    );
}

#[test]
fn chain_in_another_order_is_an_error_that_names_the_right_one() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&key, &authority).unwrap().pem();
    let authority = authority.as_ref().pem();

    let files = Files::new();
    let key = files.write("a.key", key.serialize_pem());
    let chain = files.write("right.pem", own.clone() + &authority);
    Identity::from_pem_files(chain, &key).unwrap();
    let chain = files.write("wrong.pem", authority + &own);
    let error = Identity::from_pem_files(&chain, &key).unwrap_err();
    let expected = format!(
        "cannot use the private key in \"{}\" with the certificates in \"{}\": the certificates are in the wrong order, \
         the key belongs to number 2; put that one first, then the authority that signed it, and so on",
        key.display(),
        chain.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn key_of_another_certificate_is_named_with_both_paths() {
    let files = Files::new();
    let (chain, key) = (
        files.write("a.pem", pair().0),
        files.write("b.key", pair().1),
    );
    let error = Identity::from_pem_files(&chain, &key)
        .unwrap_err()
        .to_string();
    for part in [
        chain.to_str().unwrap(),
        key.to_str().unwrap(),
        "belongs to none",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn byte_order_mark_and_every_kind_of_line_end_are_accepted() {
    let (certificate, key) = pair();
    let files = Files::new();
    for mark in ["", "\u{feff}"] {
        for end in ["\n", "\r\n", "\r", "  \r\n"] {
            let change =
                |text: &str| format!("{mark}{}", text.replace("\r\n", "\n").replace('\n', end));
            let (chain, key) = (
                files.write("a.pem", change(&certificate)),
                files.write("a.key", change(&key)),
            );
            Identity::from_pem_files(&chain, &key).unwrap();
            Trust::pem_file(&chain).unwrap();
            Identity::from_pem(
                change(&certificate).as_bytes(),
                &std::fs::read(key).unwrap(),
            )
            .unwrap();
        }
    }
}

#[test]
fn parameters_and_text_around_sections_are_ignored() {
    let (certificate, key) = pair();
    let key = format!("{}{key}", section("EC PARAMETERS"));
    let certificate =
        format!("Bag Attributes\n    localKeyID: 00\nsubject=CN = localhost\n{certificate}\n\n");
    Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    Identity::from_pem(
        (certificate.clone() + &key).as_bytes(),
        (certificate + &key).as_bytes(),
    )
    .unwrap();
}

#[test]
fn utf_16_is_named_with_the_command_that_converts_it() {
    let (certificate, key) = pair();
    let utf_16 = |text: &str, bytes: fn(u16) -> [u8; 2], mark: &[u16]| -> Vec<u8> {
        let units = mark.iter().copied().chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    };
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        for mark in [&[0xfeff][..], &[]] {
            let error = certificate_error(utf_16(&certificate, bytes, mark));
            assert!(error.starts_with("it is UTF-16 text; "), "{error}");
            assert!(
                error.contains("`iconv -f UTF-16 -t UTF-8 PATH > new.pem`"),
                "{error}"
            );
            let error = key_error(utf_16(&key, bytes, mark));
            assert!(
                error.contains("`iconv -f UTF-16 -t UTF-8 PATH > new.key`"),
                "{error}"
            );
        }
    }
}

#[test]
fn empty_file_and_file_of_another_kind_are_named() {
    for empty in ["", "\n \n", "\u{feff}"] {
        assert_eq!(certificate_error(empty), "it is empty");
        assert_eq!(key_error(empty), "it is empty");
    }
    assert_eq!(certificate_error("nothing"), "no PEM section `CERTIFICATE`");
    assert_eq!(key_error("nothing"), "no PEM section `PRIVATE KEY`");
    assert_eq!(
        key_error([0xff, 1, 0]),
        "it is binary; no PEM section `PRIVATE KEY`"
    );
}

#[test]
fn certificate_of_another_format_is_named_with_the_command_that_converts_it() {
    let request = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let request = request
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    // PKCS #12: a sequence of the number 3, a sequence and more.
    let pkcs12 = [0x30, 5, 2, 1, 3, 0x30, 0];
    let cases: [(Vec<u8>, &str, &str); 6] = [
        (
            request.pem().unwrap().into(),
            "a certificate request",
            "openssl req -x509 -in PATH -key KEY",
        ),
        (
            request.der().to_vec(),
            "a certificate request",
            "openssl req -x509 -in PATH -inform der -key KEY",
        ),
        (
            section("PKCS7").into(),
            "a PKCS #7 bundle",
            "openssl pkcs7 -print_certs -in PATH",
        ),
        (
            pkcs12.into(),
            "a PKCS #12 file",
            "openssl pkcs12 -in PATH -nokeys -out new.pem",
        ),
        (
            section("TRUSTED CERTIFICATE").into(),
            "OpenSSL's own format",
            "openssl x509 -in PATH",
        ),
        (
            section("X509 CRL").into(),
            "it contains `X509 CRL`",
            "pass the certificate file",
        ),
    ];
    for (text, name, command) in cases {
        let error = certificate_error(text);
        assert!(error.contains(name), "{error}");
        assert!(error.contains(command), "{error}");
    }
}

#[test]
fn key_of_another_format_is_named_with_the_command_that_converts_it() {
    let public = KeyPair::generate().unwrap().public_key_pem();
    let cases: [(Vec<u8>, &str, &str); 6] = [
        (
            section("OPENSSH PRIVATE KEY").into(),
            "in the format of OpenSSH",
            "ssh-keygen -p -m PKCS8 -f new.key",
        ),
        (
            public.into(),
            "a public key",
            "pass the private key that it was made from",
        ),
        (
            vec![0x30, 5, 2, 1, 3, 0x30, 0],
            "a PKCS #12 file",
            "openssl pkcs12 -in PATH -nocerts",
        ),
        (
            section("DSA PRIVATE KEY").into(),
            "a DSA key",
            "openssl genpkey",
        ),
        (
            b"ssh-ed25519 AAAA name".into(),
            "a public key of OpenSSH",
            "no PEM section `PRIVATE KEY`",
        ),
        (
            section("EC PARAMETERS").into(),
            "it contains `EC PARAMETERS`",
            "pass the key file",
        ),
    ];
    for (text, name, command) in cases {
        let error = key_error(text);
        assert!(error.contains(name), "{error}");
        assert!(error.contains(command), "{error}");
    }
}

#[test]
fn damaged_text_is_named() {
    let (certificate, key) = pair();
    let label = "`PRIVATE KEY`";
    let cut = &key[..key.len() / 2];
    assert!(key_error(cut).starts_with(&format!(
        "its section {label} (number 1) has no line `-----END PRIVATE KEY-----`"
    )));
    let changed = key.replacen("\nM", "\n*", 1);
    assert!(key_error(changed).starts_with(&format!(
        "its section {label} (number 1) is not valid base64"
    )));
    let good = certificate.clone() + &certificate;
    let error = certificate_error(good.clone() + &certificate.replacen("\nM", "\n*", 1));
    assert!(
        error.starts_with("its section `CERTIFICATE` (number 3) is not valid base64"),
        "{error}"
    );
    let error = certificate_error(good + &certificate[..certificate.len() / 2]);
    assert!(
        error.starts_with("its section `CERTIFICATE` (number 3) has no line"),
        "{error}"
    );
    let escaped = key.replace("\r\n", "\n").replace('\n', "\\n");
    assert_eq!(
        key_error(escaped),
        "its line breaks are written as `\\n`; replace them by line breaks"
    );
    for unlike in [
        key.replace(['\r', '\n'], ""),
        key.replace("-----BEGIN", "  -----BEGIN"),
    ] {
        let error = key_error(unlike);
        assert!(error.contains("restore the line breaks"), "{error}");
    }
    let other = certificate.lines().nth(1).unwrap();
    let damaged = certificate.replace(other, &"A".repeat(other.len()));
    assert_eq!(
        certificate_error_of_identity(&damaged),
        "the first certificate is damaged"
    );
}

/// Returns the reason why no identity has this certificate, which has the form of one.
fn certificate_error_of_identity(certificate: &str) -> String {
    match Identity::from_pem(certificate.as_bytes(), pair().1.as_bytes()) {
        Err(TlsError::Certificate { path: None, reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn path_with_spaces_is_quoted_in_commands() {
    let files = Files::new();
    let key = files.write("my 'own' key", section("ENCRYPTED PRIVATE KEY"));
    let error = Identity::from_pem_files(files.write("a.pem", pair().0), key).unwrap_err();
    let quoted = format!(
        "-in '{}/my '\\''own'\\'' key' -out",
        files.0.path().display()
    );
    assert!(error.to_string().contains(&quoted), "{error}");
}

#[test]
fn error_for_a_changed_key_contains_nothing_of_it() {
    let (certificate, key) = pair();
    let key = key.replace("\r\n", "\n");
    let lines: Vec<_> = key.lines().filter(|line| !line.starts_with('-')).collect();
    let parts = lines.iter().flat_map(|line| line.as_bytes().windows(8));
    let secrets: HashSet<&[u8]> = parts.collect();
    let check = |text: &str| {
        let certificate = certificate.as_bytes();
        let results = [
            Identity::from_pem(certificate, text.as_bytes()).map(drop),
            Identity::from_pem(text.as_bytes(), text.as_bytes()).map(drop),
            Identity::from_pem(text.as_bytes(), certificate).map(drop),
            Trust::pem(text.as_bytes()).map(drop),
        ];
        for error in results.into_iter().filter_map(Result::err) {
            let shown = format!("{error} {error:?}");
            let leaks = shown
                .as_bytes()
                .windows(8)
                .any(|part| secrets.contains(part));
            assert!(!leaks, "{shown}");
        }
    };
    for place in 0..key.len() {
        let (before, after) = key.split_at(place);
        check(before);
        check(after);
        check(&format!("{before}-----BEGIN {after}"));
        check(&format!("{before}-----{after}"));
    }
    check(&key.replace('\n', ""));
    check(&key.replace('\n', "-----\n-----BEGIN "));
    check(&format!("-----BEGIN {}-----\n", lines.concat()));
}
