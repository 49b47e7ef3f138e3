//! The exact values of numbers.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// The exact value of a number. Numbers with different notations of the same value are equal.
///
/// The value is `0.d₁d₂d₃…` times a power of ten, where `d₁` and the last digit are not zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decimal<'a> {
    is_negative: bool,
    /// The text from the first digit that is not zero to the last one. May have a point. Empty for zero.
    digits: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Reads a number of JSON. Returns `None` if its exponent has more than 64 bits.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (mantissa, power) = match text.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, Some(power)),
            None => (text, None),
        };
        let is_digit = |c: char| matches!(c, '1'..='9');
        let (Some(first), Some(last)) = (mantissa.find(is_digit), mantissa.rfind(is_digit)) else {
            return Some(Self {
                is_negative: false,
                digits: "",
                exponent: 0,
            });
        };
        let power = power.map_or(Ok(0), str::parse::<i64>).ok()?;
        let point = mantissa.find('.').unwrap_or(mantissa.len());
        // The position of the first digit, counted from the point.
        let exponent = match point > first {
            true => i64::try_from(point - first).ok()?,
            false => -i64::try_from(first - point - 1).ok()?,
        };
        Some(Self {
            is_negative,
            digits: &mantissa[first..=last],
            exponent: exponent.checked_add(power)?,
        })
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.digits.bytes().filter(|byte| *byte != b'.')
    }

    /// Returns the value, if it is an integer of 128 bits.
    pub(crate) fn whole(&self) -> Option<i128> {
        match self.has_fraction() {
            true => None,
            false => self.truncated(),
        }
    }

    /// Returns the value without its fraction, if that has 128 bits.
    pub(crate) fn truncated(&self) -> Option<i128> {
        let count = usize::try_from(self.exponent).unwrap_or_default();
        // The largest has 39 digits.
        let count = Some(count).filter(|count| *count < 40)?;
        let mut digits = self.digits().chain(std::iter::repeat(b'0')).take(count);
        digits.try_fold(0_i128, |whole, digit| {
            let digit = i128::from(digit - b'0');
            let whole = whole.checked_mul(10)?;
            match self.is_negative {
                true => whole.checked_sub(digit),
                false => whole.checked_add(digit),
            }
        })
    }

    /// Returns `true` if the value has a fraction.
    pub(crate) fn has_fraction(&self) -> bool {
        i64::try_from(self.digits().count()).is_ok_and(|count| count > self.exponent)
            && !self.digits.is_empty()
    }

    /// Compares the amounts.
    fn cmp_amounts(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                let exponents = self.exponent.cmp(&other.exponent);
                exponents.then_with(|| self.digits().cmp(other.digits()))
            }
        }
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.cmp_amounts(other),
            (true, true) => other.cmp_amounts(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

impl Hash for Decimal<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.is_negative, self.exponent).hash(state);
        self.digits().for_each(|digit| digit.hash(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Decimal<'_> {
        Decimal::of(text).unwrap()
    }

    #[test]
    fn numbers_are_ordered_by_their_exact_values() {
        let ordered = [
            "-1e400",
            "-12345678901234567890.2",
            "-12345678901234567890.1",
            "-10",
            "-1.5",
            "-0.1",
            "0",
            "1e-400",
            "0.01",
            "0.1",
            "0.1000000000000000000001",
            "0.11",
            "1",
            "9.99",
            "10",
            "10.01",
            "9007199254740992",
            "9007199254740993",
            "1e400",
        ];
        for (index, one) in ordered.iter().enumerate() {
            for (at, other) in ordered.iter().enumerate() {
                assert_eq!(of(one).cmp(&of(other)), index.cmp(&at), "{one} {other}");
            }
        }
    }

    #[test]
    fn number_is_equal_in_every_notation() {
        let same = [
            ["0", "-0.0", "0e5"],
            ["100", "1e2", "1.00E+2"],
            ["0.05", "5e-2", "50.0e-3"],
            ["-1.5", "-15e-1", "-0.15e1"],
            ["1050.0", "1.05e3", "105e1"],
        ];
        for [one, other, third] in same {
            assert_eq!(of(one), of(other), "{one} {other}");
            assert_eq!(of(one), of(third), "{one} {third}");
        }
    }

    #[test]
    fn only_an_integer_of_128_bits_is_whole() {
        let cases = [
            ("0", Some(0)),
            ("-17.0", Some(-17)),
            ("1.5e1", Some(15)),
            ("1e3", Some(1000)),
            ("170141183460469231731687303715884105727", Some(i128::MAX)),
            ("-170141183460469231731687303715884105728", Some(i128::MIN)),
            ("170141183460469231731687303715884105728", None),
            ("12345678901234567890.5", None),
            ("0.5", None),
            ("1e-1", None),
            ("1e400", None),
        ];
        assert_eq!(
            of("-12345678901234567890.9").truncated(),
            Some(-12345678901234567890)
        );
        assert_eq!(of("0.09").truncated(), Some(0));
        for (text, whole) in cases {
            assert_eq!(of(text).whole(), whole, "{text}");
        }
        assert!(of("0.5").has_fraction() && !of("5e400").has_fraction());
        assert!(Decimal::of("1e99999999999999999999").is_none());
        assert!(Decimal::of("1.1e9223372036854775807").is_none());
    }
}
