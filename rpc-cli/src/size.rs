//! Parses a number of bytes.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, from a KiB to a GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        self.0 as u64
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let number: Option<usize> = number.trim_end().parse().ok();
        let bytes = number.and_then(|number| number.checked_mul(unit));
        match bytes {
            Some(bytes @ 0x400..=0x4000_0000) => Ok(Self(bytes)),
            Some(_) => Err("expected a size from 1KiB to 1GiB".into()),
            None => {
                Err("expected a number of bytes, or a size such as 64KiB, 64MiB or 1GiB".into())
            }
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        match whole {
            Some((unit, bytes)) => write!(f, "{} {unit}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_a_number_with_or_without_a_unit() {
        let cases = [
            ("1024", 1 << 10, "1 KiB"),
            ("1500", 1500, "1500 bytes"),
            ("64MiB", 64 << 20, "64 MiB"),
            ("1 GiB", 1 << 30, "1 GiB"),
            ("1536KiB", 1536 << 10, "1536 KiB"),
        ];
        for (text, bytes, told) in cases {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), told);
        }
        for wrong in [
            "",
            "MiB",
            "0",
            "1023",
            "2GiB",
            "-1",
            "1.5MiB",
            "64MB",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
