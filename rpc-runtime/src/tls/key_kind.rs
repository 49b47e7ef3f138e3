//! Names the kind of a private key.

use rustls_pki_types::PrivateKeyDer;

use crate::tls::der::{Element, dotted, sequence, tag};
use crate::tls::diagnosis::new_key;

/// Returns why a private key that was rejected cannot be used, and what to do. Contains only its kind and its size.
pub(super) fn unusable(key: &PrivateKeyDer<'_>, file: &str) -> String {
    match kind(key) {
        Some(Kind::Unsupported(name)) => format!("it is {name}; {}", new_key()),
        Some(Kind::Supported) | None => format!(
            "it is damaged, or lacks its public key; write it again with `openssl pkey -in {file} -out new.key`"
        ),
    }
}

enum Kind {
    Supported,
    /// With the name of the kind.
    Unsupported(String),
}

fn kind(key: &PrivateKeyDer<'_>) -> Option<Kind> {
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
                "1.3.101.112" => return Some(Kind::Supported),
                "1.2.840.113549.1.1.10" => "an RSA-PSS key",
                "1.2.840.113549.1.3.1" => "a Diffie-Hellman key",
                "1.2.840.10040.4.1" => "a DSA key",
                "1.3.101.110" => "an X25519 key, which cannot sign",
                "1.3.101.111" => "an X448 key, which cannot sign",
                "1.3.101.113" => "an Ed448 key",
                "2.16.840.1.101.3.4.3.17" => "an ML-DSA-44 key",
                "2.16.840.1.101.3.4.3.18" => "an ML-DSA-65 key",
                "2.16.840.1.101.3.4.3.19" => "an ML-DSA-87 key",
                other => return Some(Kind::Unsupported(format!("a key of the algorithm {other}"))),
            };
            Some(Kind::Unsupported(name.into()))
        }
        _ => None,
    }
}

fn rsa(pkcs1: &[u8]) -> Option<Kind> {
    let modulus = sequence(pkcs1)?.nth(1)?.value(tag::INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    let bits = (modulus.len() - zeros) * 8 - first.leading_zeros() as usize;
    Some(match bits {
        2048..=4096 => Kind::Supported,
        _ => Kind::Unsupported(format!("an RSA key of {bits} bits")),
    })
}

fn curve(parameters: Option<Element<'_>>) -> Option<Kind> {
    let parameters = parameters?;
    let Some(oid) = parameters.value(tag::OID) else {
        return Some(Kind::Unsupported(
            "an EC key on a curve without a name".into(),
        ));
    };
    let oid = dotted(oid);
    let name = match oid.as_str() {
        "1.2.840.10045.3.1.7" | "1.3.132.0.34" => return Some(Kind::Supported),
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
    Some(Kind::Unsupported(format!("an EC key on the curve {name}")))
}
