//! Decimal digits of unsigned integers, read and written up to eight at a time.

/// The number of digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// The smallest number of nine digits.
const NINE_DIGITS: u64 = 100_000_000;

/// Eight ASCII zeros.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Sets the highest bit of each byte above 9 that it is added to.
const BEYOND_NINE: u64 = 0x7676_7676_7676_7676;

/// The highest bit of every byte.
pub(super) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Reads an integer of a few digits at the start of `text` and returns it with the remaining text. Reads at most 19
/// digits, even if more follow, and only one digit if it is a zero. Returns `None` if there are no digits.
#[inline]
pub(super) fn read(text: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = text.split_first()?;
    match first.wrapping_sub(b'0') {
        0 => Some((0, rest)),
        digit @ 1..=9 => read_more(digit.into(), rest, 1),
        _ => None,
    }
}

/// Does the same as [`read`]; faster for integers of many digits and slower for those of a few.
#[inline(always)]
pub(super) fn read_long(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some((word, behind)) = text.split_first_chunk::<8>() else {
        return read(text);
    };
    let word = u64::from_le_bytes(*word) ^ ZEROS;
    if word & 0xff == 0 {
        return read(text);
    }
    match (word.wrapping_add(BEYOND_NINE) | word) & HIGH_BITS {
        0 => read_more(join(word), behind, 8),
        others => {
            // The digits, of which there is at least one before the first other byte, are moved to the high bytes.
            let count = others.trailing_zeros() / 8;
            let digits = word.checked_shl(64_u32.wrapping_sub(count.wrapping_mul(8)))?;
            Some((join(digits), text.get(count as usize..)?))
        }
    }
}

/// Continues to read after `before` digits.
#[inline]
fn read_more(mut number: u64, text: &[u8], before: usize) -> Option<(u64, &[u8])> {
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        rest = behind;
    }
    let count = text.len().wrapping_sub(rest.len());
    (count <= MAX_DIGITS.wrapping_sub(before)).then_some((number, rest))
}

/// Appends the digits of `number`.
#[inline]
pub(super) fn write(number: u64, out: &mut Vec<u8>) {
    match number {
        0..10 => out.push(number as u8 | b'0'),
        10..NINE_DIGITS => write_eight(number, out),
        _ => write_long(number, out),
    }
}

/// Not inlined, so that shorter integers need no registers for it.
#[inline(never)]
fn write_long(number: u64, out: &mut Vec<u8>) {
    let (high, low) = (number / NINE_DIGITS, number % NINE_DIGITS);
    write(high, out);
    out.extend_from_slice(&(split(low) | ZEROS).to_le_bytes());
}

/// Appends a number of at most eight digits.
#[inline]
fn write_eight(number: u64, out: &mut Vec<u8>) {
    let digits = split(number);
    // The last digit is written even if it is zero.
    let zeros = (digits | (1 << 56)).trailing_zeros() / 8;
    let text = (digits | ZEROS) >> zeros.wrapping_mul(8);
    let end = out.len().wrapping_add(8).wrapping_sub(zeros as usize);
    // Eight bytes are copied in place; a copy of variable length would be a function call.
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

/// Combines eight digits, the first in the lowest byte, into one number: first pairs, then groups of four, then all
/// eight.
#[inline]
fn join(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul((10 << 8) | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul((100 << 16) | 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul((10_000 << 32) | 1) >> 32
}

/// Splits a number below 10⁸ into eight digits, the first in the lowest byte. One multiplication yields the quotients
/// of several parts of a word: 10486 / 2²⁰ is nearly 1 / 100, 103 / 2¹⁰ nearly 1 / 10.
#[inline]
fn split(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16);
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs.wrapping_sub(tens.wrapping_mul(10)) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Integers of any number of digits.
    fn integer() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0u32..64).prop_map(|(number, shift)| number >> shift)
    }

    #[track_caller]
    fn assert_written(number: u64) {
        let mut out = b"before".to_vec();
        write(number, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("before{number}"));
    }

    #[track_caller]
    fn assert_read(text: &str) {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let digits = match text.as_bytes() {
            [b'0', ..] => 1,
            _ => digits,
        };
        let (number, rest) = text.split_at(digits);
        let fits = (1..=MAX_DIGITS).contains(&digits);
        let expected = fits.then(|| (number.parse().unwrap(), rest.as_bytes()));
        assert_eq!(read(text.as_bytes()), expected, "{text}");
        assert_eq!(read_long(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn integers_of_up_to_eight_digits_are_written_and_read() {
        let mut text = Vec::new();
        // All numbers of up to five digits: each half of an eight-digit number has four.
        for number in (0..100_000).chain((0..NINE_DIGITS).step_by(97)) {
            text.clear();
            write(number, &mut text);
            assert!(number < 10 || text.first() != Some(&b'0'), "{number}");
            text.extend_from_slice(b",end");
            assert_eq!(read(&text), Some((number, &b",end"[..])));
            assert_eq!(read_long(&text), Some((number, &b",end"[..])));
        }
    }

    #[test]
    fn integer_with_one_digit_more_than_another_is_written() {
        for power in (0..20).map(|digits| 10_u64.pow(digits)) {
            for number in [power - 1, power, power + 1] {
                assert_written(number);
            }
        }
        assert_written(u64::MAX);
    }

    #[test]
    fn digits_before_any_byte_are_read() {
        for byte in 0..=0x7f {
            for count in 0..20 {
                let digits = "1234567890123456789".get(..count).unwrap();
                assert_read(&format!("{digits}{}", char::from(byte)));
                assert_read(&format!("{digits}{}12345678", char::from(byte)));
            }
        }
    }

    proptest! {
        #[test]
        fn any_integer_is_written(number in integer()) {
            assert_written(number);
        }

        #[test]
        fn any_text_is_read_to_its_first_byte_that_is_no_digit(text in "[0-9]{0,20}[-0-9./:;,x\u{80}-\u{ff}]{0,12}") {
            assert_read(&text);
        }
    }
}
