//! Reads as much of DER as error messages and the purposes of a certificate need. Bytes that are no DER are `None`.

/// The tags of the elements that are read here.
pub(super) mod tag {
    pub(in crate::tls) const INTEGER: u8 = 0x02;
    pub(in crate::tls) const BIT_STRING: u8 = 0x03;
    pub(in crate::tls) const OCTET_STRING: u8 = 0x04;
    pub(in crate::tls) const OID: u8 = 0x06;
    pub(in crate::tls) const SEQUENCE: u8 = 0x30;
    /// Context-specific and constructed, with the numbers 0 and 3.
    pub(in crate::tls) const CONTEXT_0: u8 = 0xa0;
    pub(in crate::tls) const CONTEXT_3: u8 = 0xa3;
}

/// One element: its tag and its value.
#[derive(Clone, Copy)]
pub(super) struct DerElement<'a> {
    pub(super) tag: u8,
    pub(super) value: &'a [u8],
}

impl<'a> DerElement<'a> {
    /// Returns the elements of this element if it has the tag.
    pub(super) fn children(self, tag: u8) -> Option<DerElements<'a>> {
        (self.tag == tag).then_some(DerElements(self.value))
    }

    /// Returns the value if the element has the tag.
    pub(super) fn value(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.value)
    }
}

/// Consecutive elements. The iterator ends at the first one that is malformed.
#[derive(Clone)]
pub(super) struct DerElements<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for DerElements<'a> {
    type Item = DerElement<'a>;

    fn next(&mut self) -> Option<DerElement<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The length of the length. More than four bytes are longer than any key or certificate.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let bits =
                    |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add((*byte).into());
                (length.iter().try_fold(0, bits)?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(DerElement { tag, value })
    }
}

/// Returns the elements of the sequence that the bytes are.
pub(super) fn sequence(der: &[u8]) -> Option<DerElements<'_>> {
    DerElements(der).next()?.children(tag::SEQUENCE)
}

/// Returns an object identifier in the usual notation, such as `1.3.101.112`.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            match numbers.is_empty() {
                true => {
                    let first = (number / 40).min(2);
                    numbers.extend([first, number - first * 40]);
                }
                false => numbers.push(number),
            }
            number = 0;
        }
    }
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(".")
}

/// Returns the purposes (extended key usages) of a certificate as object identifiers, or `None` if it is not restricted
/// to any.
pub(super) fn purposes(certificate: &[u8]) -> Option<Vec<&[u8]>> {
    let usages = extension(certificate, &[0x55, 0x1d, 0x25])?;
    let oids = sequence(usages).into_iter().flatten();
    Some(oids.filter_map(|oid| oid.value(tag::OID)).collect())
}

/// Returns the value of an extension of a certificate, empty if it is malformed.
fn extension<'a>(certificate: &'a [u8], oid: &[u8]) -> Option<&'a [u8]> {
    let signed = sequence(certificate)?.next()?.children(tag::SEQUENCE)?;
    let mut wrapped = signed.filter_map(|element| element.children(tag::CONTEXT_3));
    let extensions = wrapped.next()?.next()?.children(tag::SEQUENCE)?;
    let mut values = extensions.filter_map(|extension| {
        let mut parts = extension.children(tag::SEQUENCE)?;
        let is_wanted = parts.next()?.value(tag::OID)? == oid;
        // A boolean, which says whether the extension is critical, may precede the value.
        is_wanted.then(|| parts.find_map(|part| part.value(tag::OCTET_STRING)))
    });
    Some(values.next()?.unwrap_or_default())
}

#[cfg(all(test, feature = "server"))]
pub(super) mod tests {
    use super::*;

    /// Writes an element.
    pub(in crate::tls) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let value = parts.concat();
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let length = match length {
            [0, length @ 0..=0x7f] => vec![length],
            [0, length] => vec![0x81, length],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag][..], &length, &value].concat()
    }

    #[test]
    fn object_identifier_is_shown_with_dots() {
        assert_eq!(dotted(&[0x2b, 0x65, 0x70]), "1.3.101.112");
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        assert_eq!(dotted(&rsa), "1.2.840.113549.1.1.1");
        assert_eq!(dotted(&[0x88, 0x37]), "2.999");
        assert_eq!(dotted(&[]), "");
    }

    #[test]
    fn truncated_element_is_none() {
        for der in [
            &[0x30][..],
            &[0x30, 2, 0],
            &[0x30, 0x82, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85],
        ] {
            assert!(sequence(der).is_none(), "{der:?}");
        }
        assert!(sequence(&[0x30, 0x81, 1, 5]).is_some());
    }

    #[test]
    fn purposes_of_a_certificate_are_its_extended_key_usages() {
        let mut params = rcgen::CertificateParams::default();
        let key = rcgen::KeyPair::generate().unwrap();
        assert_eq!(purposes(params.self_signed(&key).unwrap().der()), None);
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.self_signed(&key).unwrap();
        let found = purposes(certificate.der()).unwrap();
        let found: Vec<_> = found.into_iter().map(dotted).collect();
        assert_eq!(found, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    }
}
