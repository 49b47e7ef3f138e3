//! Numbers that a double does not hold as they were written.

use std::any::type_name;
use std::sync::LazyLock;

use serde::de::Visitor;

/// `true` if serde_json was built with its feature `arbitrary_precision`: its numbers then keep their text.
static KEEPS_TEXT: LazyLock<bool> = LazyLock::new(|| {
    let number = serde_json::from_str::<serde_json::Number>("1.00");
    number.is_ok_and(|number| number.to_string() == "1.00")
});

/// Returns the text of a number, if serde_json keeps such texts and a double does not.
pub(super) fn inexact_text<'de>(
    number: f64,
    text: impl FnOnce() -> Option<&'de str>,
) -> Option<&'de str> {
    if !*KEEPS_TEXT {
        return None;
    }
    let text = text()?;
    (zmij::Buffer::new().format_finite(number) != text).then_some(text)
}

/// Returns `true` if a visitor gets the text of a number instead of the double, as serde_json passes it.
///
/// serde's buffers of untagged, flattened and internally tagged types are an exception: a float that was read into one as
/// text cannot be read from it. They get the double if it is the same number in another notation.
pub(super) fn takes_text<'de, V: Visitor<'de>>(text: &str, number: f64) -> bool {
    let wanted = type_name::<V::Value>();
    let is_buffer = wanted.starts_with("serde") && wanted.contains("::Content");
    !is_buffer || !is_same_number(text, zmij::Buffer::new().format_finite(number))
}

/// Returns `true` if two numbers have the same digits at the same places.
fn is_same_number(one: &str, other: &str) -> bool {
    digits(one).is_some_and(|one| digits(other) == Some(one))
}

/// Returns the sign, the mantissa and the exponent of a number.
fn parts(number: &str) -> (bool, &str, Option<&str>) {
    let (is_negative, amount) = match number.strip_prefix('-') {
        Some(amount) => (true, amount),
        None => (false, number),
    };
    match amount.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (is_negative, mantissa, Some(exponent)),
        None => (is_negative, amount, None),
    }
}

/// Returns sign, significant digits and the exponent of the first of them. Zero has none of these but its sign.
fn digits(number: &str) -> Option<(bool, String, i64)> {
    let (is_negative, mantissa, exponent) = parts(number);
    let exponent = exponent.map_or(Ok(0), str::parse::<i64>).ok()?;
    let whole = mantissa.split('.').next().unwrap_or_default();
    let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = all.trim_start_matches('0');
    let zeros = i64::try_from(all.len().checked_sub(significant.len())?).ok()?;
    let significant = significant.trim_end_matches('0').to_owned();
    if significant.is_empty() {
        return Some((is_negative, significant, 0));
    }
    let whole = i64::try_from(whole.len()).ok()?;
    let first = exponent.checked_add(whole)?.checked_sub(zeros)?;
    Some((is_negative, significant, first))
}

/// Returns `true` for a double halfway between two adjacent values of `f32`, or one that may be. Its own rounding then decides
/// to which of them a cast rounds it, and the text from which it was read may be nearer to the other one.
#[inline]
pub(super) fn is_between_singles(number: f64) -> bool {
    /// The bits of a double that an `f32` lacks, except the first of them.
    const LACKING_BITS: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS - 1;
    number.to_bits().trailing_zeros() >= LACKING_BITS && f64::from(number as f32) != number
}

/// Returns `true` if a text is a number in JSON's notation.
pub(super) fn is_json(text: &str) -> bool {
    let (_, mantissa, exponent) = parts(text);
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(|text| are_digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_number_in_another_notation_is_the_same() {
        for (one, other) in [
            ("1.50", "1.5"),
            ("15e-1", "1.5"),
            ("0.015E2", "1.5"),
            ("1E400", "10e399"),
            ("0.0", "0e7"),
        ] {
            assert!(is_same_number(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("1.5", "-1.5"),
            ("1.51", "1.5"),
            ("15", "1.5"),
            ("-0.0", "0"),
        ] {
            assert!(!is_same_number(one, other), "{one} {other}");
        }
    }

    #[test]
    fn double_between_two_singles_is_recognized() {
        for single in [1.0, -7.038531e-26, 1e38, f32::MIN_POSITIVE, 1e-44, 0.0] {
            let (one, other) = (f64::from(single), f64::from(single.next_up()));
            assert!(is_between_singles((one + other) / 2.0), "{single}");
            assert!(!is_between_singles(one), "{single}");
            assert!(!is_between_singles(
                (one + other) / 2.0 * (1.0 + f64::EPSILON)
            ));
        }
    }

    #[test]
    fn notation_of_json_is_recognized() {
        for text in ["0", "-0", "1.5", "10", "1e5", "1E+5", "-1.5e-5"] {
            assert!(is_json(text), "{text}");
        }
        for text in [
            "", "-", "+1", "01", ".5", "1.", "1e", "NaN", "inf", "1.e5", " 1", "0x1",
        ] {
            assert!(!is_json(text), "{text}");
        }
    }
}
