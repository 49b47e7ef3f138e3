//! Names the kind of a private key.

use rustls_pki_types::PrivateKeyDer;

use crate::tls::der::{DerElement, dotted, sequence, tag};
use crate::tls::diagnosis::new_key;

/// Returns why a private key that was rejected cannot be used, and what to do. Contains only its kind and its size.
pub(super) fn unusable(key: &PrivateKeyDer<'_>, file: &str) -> String {
    match kind(key) {
        Some(KeyKind::Unsupported(name)) => format!("it is {name}; {}", new_key()),
        Some(KeyKind::Supported) | None => format!(
            "it is damaged, or lacks its public key; write it again with `openssl pkey -in {file} -out new.key`"
        ),
    }
}

/// `true` if the library also signs with keys on P-521, and with RSA keys of up to 8,192 bits.
const IS_AWS_LC: bool = cfg!(feature = "aws-lc-rs");

enum KeyKind {
    Supported,
    /// With the name of the kind.
    Unsupported(String),
}

fn kind(key: &PrivateKeyDer<'_>) -> Option<KeyKind> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => {
            let mut parts = sequence(key.secret_sec1_der())?;
            let parameters = parts.find_map(|part| part.children(tag::CONTEXT_0))?.next();
            curve(parameters)
        }
        PrivateKeyDer::Pkcs8(key) => {
            let mut parts = sequence(key.secret_pkcs8_der())?;
            let mut algorithm = parts.nth(1)?.children(tag::SEQUENCE)?;
            let oid = dotted(algorithm.next()?.value(tag::OID)?);
            let name = match oid.as_str() {
                "1.2.840.113549.1.1.1" => return rsa(parts.next()?.value(tag::OCTET_STRING)?),
                "1.2.840.10045.2.1" => return curve(algorithm.next()),
                "1.3.101.112" => return Some(KeyKind::Supported),
                "1.2.840.113549.1.1.10" => "an RSA-PSS key",
                "1.2.840.113549.1.3.1" => "a Diffie-Hellman key",
                "1.2.840.10040.4.1" => "a DSA key",
                "1.3.101.110" => "an X25519 key, which cannot sign",
                "1.3.101.111" => "an X448 key, which cannot sign",
                "1.3.101.113" => "an Ed448 key",
                "2.16.840.1.101.3.4.3.17" => "an ML-DSA-44 key",
                "2.16.840.1.101.3.4.3.18" => "an ML-DSA-65 key",
                "2.16.840.1.101.3.4.3.19" => "an ML-DSA-87 key",
                other => {
                    return Some(KeyKind::Unsupported(format!(
                        "a key of the algorithm {other}"
                    )));
                }
            };
            Some(KeyKind::Unsupported(name.into()))
        }
        _ => None,
    }
}

fn rsa(pkcs1: &[u8]) -> Option<KeyKind> {
    let modulus = sequence(pkcs1)?.nth(1)?.value(tag::INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    let bits = (modulus.len() - zeros) * 8 - first.leading_zeros() as usize;
    Some(match bits {
        2048..=4096 => KeyKind::Supported,
        4097..=8192 if IS_AWS_LC => KeyKind::Supported,
        _ => KeyKind::Unsupported(format!("an RSA key of {bits} bits")),
    })
}

fn curve(parameters: Option<DerElement<'_>>) -> Option<KeyKind> {
    let parameters = parameters?;
    let Some(oid) = parameters.value(tag::OID) else {
        return Some(KeyKind::Unsupported(
            "an EC key on a curve without a name".into(),
        ));
    };
    let oid = dotted(oid);
    let name = match oid.as_str() {
        "1.2.840.10045.3.1.7" | "1.3.132.0.34" => return Some(KeyKind::Supported),
        "1.3.132.0.35" if IS_AWS_LC => return Some(KeyKind::Supported),
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        "1.2.156.10197.1.301" => "SM2",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        other => other,
    };
    Some(KeyKind::Unsupported(format!(
        "an EC key on the curve {name}"
    )))
}

#[cfg(all(test, feature = "server"))]
mod tests {
    #[cfg(not(feature = "aws-lc-rs"))]
    use crate::tls::der::tag::CONTEXT_0;
    use crate::tls::der::tag::{INTEGER, OCTET_STRING, OID, SEQUENCE};
    use crate::tls::der::tests::element;
    use crate::tls::{Identity, TlsError};

    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
    const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    #[cfg(not(feature = "aws-lc-rs"))]
    const P_521: &[u8] = &[0x2b, 0x81, 0x04, 0, 0x23];

    /// Returns the error for a key in this section.
    fn reason(label: &str, der: Vec<u8>) -> String {
        let certificate = Identity::self_signed(["localhost"]).unwrap().certificate();
        let key = pem::encode(&pem::Pem::new(label, der));
        match Identity::from_pem(certificate.to_pem().as_bytes(), key.as_bytes()) {
            Err(TlsError::PrivateKey { path: None, reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Returns a key in PKCS #8.
    fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[&element(OID, &[algorithm]), parameters]);
        let key = element(OCTET_STRING, &[key]);
        element(SEQUENCE, &[&element(INTEGER, &[&[0]]), &algorithm, &key])
    }

    /// Returns an RSA key that has only a modulus of this many bytes.
    fn rsa(bytes: usize) -> Vec<u8> {
        let modulus = [&[0][..], &vec![0xc1; bytes]].concat();
        element(
            SEQUENCE,
            &[&element(INTEGER, &[&[0]]), &element(INTEGER, &[&modulus])],
        )
    }

    #[cfg(not(feature = "aws-lc-rs"))]
    fn sec1(curve: &[u8]) -> Vec<u8> {
        let parameters = element(CONTEXT_0, &[&element(OID, &[curve])]);
        let key = element(OCTET_STRING, &[&[7; 32]]);
        element(SEQUENCE, &[&element(INTEGER, &[&[1]]), &key, &parameters])
    }

    #[cfg(not(feature = "aws-lc-rs"))]
    #[test]
    fn key_that_only_aws_lc_uses_is_named_with_what_to_do() {
        let curve = element(OID, &[P_521]);
        let curve_name = "it is an EC key on the curve P-521; ";
        let cases = [
            ("PRIVATE KEY", pkcs8(EC, &curve, &[]), curve_name),
            ("EC PRIVATE KEY", sec1(P_521), curve_name),
            (
                "PRIVATE KEY",
                pkcs8(RSA, &[], &rsa(1024)),
                "it is an RSA key of 8192 bits; ",
            ),
        ];
        for (label, der, expected) in cases {
            let reason = reason(label, der);
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn key_that_tls_does_not_use_is_named_with_what_to_do() {
        let cases = [
            (
                "PRIVATE KEY",
                pkcs8(EC, &element(SEQUENCE, &[]), &[]),
                "it is an EC key on a curve without a name; ",
            ),
            ("PRIVATE KEY", pkcs8(DSA, &[], &[]), "it is a DSA key; "),
            (
                "PRIVATE KEY",
                pkcs8(&[0x2b, 0x65, 0x71], &[], &[]),
                "it is an Ed448 key; ",
            ),
            (
                "PRIVATE KEY",
                pkcs8(&[0x2b, 0x65, 0x6e], &[], &[]),
                "it is an X25519 key, which cannot sign; ",
            ),
            (
                "PRIVATE KEY",
                pkcs8(&[0x2b, 1], &[], &[]),
                "it is a key of the algorithm 1.3.1; ",
            ),
            (
                "RSA PRIVATE KEY",
                rsa(128),
                "it is an RSA key of 1024 bits; ",
            ),
        ];
        for (label, der, expected) in cases {
            let reason = reason(label, der);
            assert!(reason.starts_with(expected), "{reason}");
            assert!(reason.contains("`openssl genpkey"), "{reason}");
        }
    }

    #[test]
    fn damaged_key_of_a_kind_that_tls_uses_is_named() {
        let cases = [
            // aws-lc computes the public key, which ring requires.
            #[cfg(not(feature = "aws-lc-rs"))]
            ("EC PRIVATE KEY", sec1(P_256)),
            ("RSA PRIVATE KEY", rsa(256)),
            ("PRIVATE KEY", pkcs8(RSA, &[], &rsa(256))),
            ("PRIVATE KEY", pkcs8(EC, &element(OID, &[P_256]), &[])),
            ("PRIVATE KEY", vec![0]),
            ("PRIVATE KEY", Vec::new()),
        ];
        for (label, der) in cases {
            let reason = reason(label, der);
            assert!(
                reason.starts_with("it is damaged, or lacks its public key; "),
                "{reason}"
            );
        }
    }
}
